"""Each link of the documents leads to a file that is there, and each anchor to a heading of it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def links(page: Path) -> list[str]:
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    return [link for link in _LINK.findall(text) if not link.startswith(("https:", "http:", "mailto:"))]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts and the site make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


def test_pages_of_the_site_link_within_it() -> None:
    """What lies outside of docs/ is not part of the site."""
    folder = ROOT / "docs"
    outside = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in PAGES
        if page.is_relative_to(folder)
        for link in links(page)
        if not (page.parent / link.partition("#")[0]).resolve().is_relative_to(folder)
    ]

    assert outside == []


def test_each_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    pages = {str(page.relative_to(ROOT / "docs")) for page in PAGES if page.is_relative_to(ROOT / "docs")}
    decisions = {page for page in pages if re.match(r"measurements/decisions/\d", page)}
    index = (ROOT / "docs" / "measurements" / "decisions" / "index.md").read_text(encoding="utf-8")

    assert pages - decisions - listed == set()
    assert {Path(page).name for page in decisions} == set(re.findall(r"\((\d+[\w-]+\.md)\)", index))
