"""The page in a real browser: hostile text, keyboard, filters, no network, dark, phone, paper, speed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect

from harness.report import render_index, render_page, summarise
from harness.store.rows import Evidence

_CONTRAST_AA = 4.5

# Every visible text against the first opaque background beneath it (WCAG 2.2, 1.4.3), as [ratio, text].
_CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, place) => sum + c * [.2126, .7152, .0722][place], 0);
  const under = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] > 250) return color;
    }
    return rgba(getComputedStyle(document.body).backgroundColor);
  };
  const found = [];
  for (const element of document.querySelectorAll("body *:not(script):not(svg):not(svg *)")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility()) continue;
    const a = light(rgba(getComputedStyle(element).color)), b = light(under(element));
    found.push([(Math.max(a, b) + .05) / (Math.min(a, b) + .05), element.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""


@dataclass
class Opened:
    """A page in a tab, and what it tried: requests beyond its own file, errors and refusals in its console."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    contexts = []

    def opened(html: str, *, width: int = 1280, scheme: str = "light", javascript: bool = True) -> Opened:
        path = tmp_path / "page.html"
        path.write_text(html, encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme="dark" if scheme == "dark" else "light",
            java_script_enabled=javascript,
        )
        contexts.append(context)
        found = Opened(context.new_page())
        address = path.as_uri()
        found.page.on("request", lambda request: found.requests.append(request.url) if request.url != address else None)
        found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.page.on("console", lambda message: found.complaints.append(message.text))
        found.page.goto(address)
        return found

    yield opened
    for context in contexts:
        context.close()


def _focused(page: Page) -> str:
    return page.evaluate("document.activeElement.closest('details.sample')?.querySelector('code').textContent ?? ''")


def _processor_seconds(page: Page) -> float:
    """Return what opening and drawing took on the main thread; unlike a clock it does not count a busy machine."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = _task_seconds(session)
    page.reload()
    page.wait_for_selector("figure.chart svg")
    return _task_seconds(session) - before


def _task_seconds(session: CDPSession) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


def test_script_in_an_answer_does_not_run_and_nothing_is_requested(made: ModuleType, open_page: Open) -> None:
    opened = open_page(render_page(made.go(hostile=True)))
    opened.page.keyboard.press("j")
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_selector("details.sample[open] ins")
    answers = opened.page.locator("details.sample[open] .tuned ins").all_text_contents()
    assert "script" in "".join(answers)
    assert opened.page.evaluate("window.pwned") is None
    assert (opened.requests, opened.complaints) == ([], [])


@pytest.mark.parametrize("evidence", ["go", "no_go", "inconclusive", "stopped", "invalid"])
def test_every_verdict_draws_without_an_error_or_a_request(made: ModuleType, open_page: Open, evidence: str) -> None:
    opened = open_page(render_page(getattr(made, evidence)()))
    charts = opened.page.locator("figure.chart")
    for place in range(charts.count()):
        expect(charts.nth(place).locator("svg").last).to_be_visible()
    assert (opened.requests, opened.complaints) == ([], [])


def test_samples_are_found_by_outcome_tag_and_text(made: ModuleType, open_page: Open) -> None:
    page = open_page(render_page(made.go(samples=60))).page
    status = page.locator("#sample-count")
    expect(status).to_have_text("60 of 60 samples")
    shown = page.locator("details.sample:not([hidden])")
    expect(shown).to_have_count(25)
    page.locator("#more-samples").click()
    expect(shown).to_have_count(60)
    page.get_by_role("button", name="Improved").click()
    improved = page.locator("details.sample[data-outcome=improved]").count()
    expect(status).to_have_text(f"{improved} of 60 samples")
    page.get_by_role("button", name="Improved").click()
    page.get_by_label("area").select_option("garage")
    expect(status).to_have_text("12 of 60 samples")
    page.get_by_label("Search samples").fill("REQUEST 13")
    expect(status).to_have_text("1 of 60 samples")
    page.keyboard.press("Escape")
    expect(status).to_have_text("12 of 60 samples")


def test_samples_need_no_mouse(made: ModuleType, open_page: Open) -> None:
    page = open_page(render_page(made.go())).page
    page.keyboard.press("/")
    page.keyboard.type("holdout-1")
    page.keyboard.press("ArrowDown")
    first = _focused(page)
    page.keyboard.press("ArrowDown")
    second = _focused(page)
    page.keyboard.press("k")
    assert first == _focused(page) != second
    page.keyboard.press("Enter")
    expect(page.locator("details.sample[open]")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("details.sample[open]")).to_have_count(0)
    assert first.startswith("holdout-1")
    assert second.startswith("holdout-1")


def test_an_answer_shows_where_it_leaves_the_reference(made: ModuleType, open_page: Open) -> None:
    page = open_page(render_page(made.no_go())).page
    sample = page.locator("details.sample[data-outcome=regressed]").first
    sample.locator("summary").click()
    wrong = sample.locator(".tuned pre", has=page.locator("ins")).first
    assert wrong.locator("ins").first.inner_text() == f"un{wrong.locator('del').first.inner_text()}"
    expect(sample.locator(".baseline ins, .reference ins")).to_have_count(0)


def test_the_theme_follows_the_system_and_the_button(made: ModuleType, open_page: Open) -> None:
    page = open_page(render_page(made.go()), scheme="dark").page
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(21, 20, 19)"
    page.get_by_role("button", name="Switch to the light theme").click()
    assert page.evaluate(background) == "rgb(250, 250, 248)"
    expect(page.get_by_role("button", name="Switch to the dark theme")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("evidence", ["go", "no_go", "inconclusive", "invalid"])
def test_every_text_has_enough_contrast(made: ModuleType, open_page: Open, evidence: str, scheme: str) -> None:
    page = open_page(render_page(made.post_hoc(getattr(made, evidence)())), scheme=scheme).page
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    contrasts = page.evaluate(_CONTRASTS)
    assert len(contrasts) > 50
    assert [found for found in contrasts if found[0] < _CONTRAST_AA] == []


@pytest.mark.parametrize("width", [360, 768])
def test_no_width_scrolls_sideways(made: ModuleType, open_page: Open, width: int) -> None:
    pages = [render_page(made.go(hostile=True)), render_page(made.invalid()), render_index([summarise(made.go())])]
    for html in pages:
        page = open_page(html, width=width).page
        page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_without_javascript_verdict_tables_checks_and_samples_are_there(made: ModuleType, open_page: Open) -> None:
    page = open_page(render_page(made.go()), javascript=False).page
    for text in ("every criterion is met", "Development set", "near-duplicate text"):
        expect(page.get_by_text(text).first).to_be_visible()
    expect(page.locator(".criterion svg.figure").first).to_be_visible()
    expect(page.locator(".toolbar")).to_be_hidden()
    page.locator("details.sample summary").first.click()
    expect(page.locator("details.sample[open] .reference")).to_be_visible()


def test_on_paper_the_verdict_stays_and_the_controls_go(made: ModuleType, open_page: Open) -> None:
    page = open_page(render_page(made.go()), scheme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    expect(page.locator(".banner")).to_be_visible()
    expect(page.locator(".top")).to_be_hidden()
    expect(page.locator(".toolbar")).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_a_thousand_samples_stay_small_and_open_fast(made: ModuleType, open_page: Open) -> None:
    evidence: Evidence = made.go(samples=1000)
    html = render_page(evidence)
    assert len(html.encode()) < 5_000_000
    page = open_page(html).page
    expect(page.locator("#sample-count")).to_have_text("1,000 of 1,000 samples")
    assert _processor_seconds(page) < 2.0
    page.get_by_label("Search samples").fill("holdout-999")
    expect(page.locator("#sample-count")).to_have_text("1 of 1,000 samples")


@pytest.mark.parametrize(("width", "scheme"), [(1100, "light"), (390, "dark")])
def test_the_further_sections_are_drawn_fit_and_can_be_read(
    open_page: Open, rich: Evidence, width: int, scheme: str
) -> None:
    opened = open_page(render_page(rich), width=width, scheme=scheme)
    for chart in ("curve", "sequential"):
        drawn = opened.page.locator(f'[data-chart="{chart}"] svg[viewBox][width]').last
        expect(drawn).to_be_visible()
        assert drawn.locator("path").count() > 0
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert [text for ratio, text in opened.page.evaluate(_CONTRASTS) if ratio < _CONTRAST_AA] == []
    assert (opened.requests, opened.complaints) == ([], [])
