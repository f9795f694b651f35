"""reports/summary.md: every verdict in GitHub-flavoured Markdown, for a pull request."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.compare import ONE_SEED
from harness.report.brief import Entry, checks_text

_MARKS = {"GO": "✅ GO", "NO_GO": "⛔ NO-GO", "INCONCLUSIVE": "❔ INCONCLUSIVE", "INVALID": "⚠️ INVALID"}
_STATUSES = {"met": "met", "failed": "**failed**", "open": "open"}
# Whatever could begin markup in a cell or a paragraph: backslash first.
_SPECIAL = re.compile(r"([\\`*_{}\[\]()~|!])")
_NO_LINK = "\u200b"  # zero width: a mention, an issue's number or an address is shown, but not linked


def render_summary(entries: Sequence[Entry]) -> str:
    """Return one table of all experiments, then each one's advice, criteria and what else its evidence says."""
    lines = ["# Should we tune?", ""]
    if not entries:
        return "\n".join([*lines, "Nothing is measured yet.", ""])
    lines += ["| verdict | experiment | difference | advice |", "| --- | --- | --- | --- |"]
    for entry in entries:
        link = f"[{escaped(entry['experiment'])}]({_address(entry['report'])})"
        cells = (_mark(entry), link, escaped(_difference(entry)), escaped(entry["advice"][0]))
        lines.append(f"| {' | '.join(cells)} |")
    for entry in entries:
        lines += ["", *_details(entry)]
    return "\n".join([*lines, ""])


def _difference(entry: Entry) -> str:
    one = entry["primary"] is not None and entry["primary"]["seeds"] == 1
    return (entry["gain"] or "nothing was compared") + (f"; {ONE_SEED}" if one else "")


def escaped(text: object) -> str:
    """Return text of users, data and models on one line, with nothing that Markdown, HTML or GitHub would act on."""
    return _SPECIAL.sub(r"\\\1", _in_html(text))


def _in_html(text: object) -> str:
    """Return the text for inside an HTML element, where Markdown's backslashes would be seen."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([@#])(?=\w)", rf"\1{_NO_LINK}", line)
    line = re.sub(r"(?i)\b(https?|ftp|mailto)(?=:)", rf"\1{_NO_LINK}", line)
    return re.sub(r"(?i)\bwww\.", f"www{_NO_LINK}.", line)


def _details(entry: Entry) -> list[str]:
    lines = [f"<details><summary>{_mark(entry)} {_in_html(entry['experiment'])}</summary>", ""]
    lines += [escaped(entry["question"]), "", escaped(entry["reason"]), "", escaped(" ".join(entry["advice"])), ""]
    if entry["findings"]:
        lines += ["| criterion | status | finding |", "| --- | --- | --- |"]
        lines += [_finding(found) for found in entry["findings"]]
        lines.append("")
    said = [text for value in entry["insights"].values() for text in (value if isinstance(value, list) else [value])]
    lines += [f"- {escaped(text)}" for text in said]
    facts = [
        entry["cost"],
        checks_text(entry["checks"]),
        f"look {entry['look']} at the holdout" if entry["look"] else None,
    ]
    lines += ["", escaped("; ".join(fact for fact in facts if fact)), "", "</details>"]
    return lines


def _finding(found: Mapping[str, Any]) -> str:
    status = _STATUSES.get(str(found["status"]), escaped(found["status"]))
    return f"| {escaped(found['criterion'])} | {status} | {escaped(found['sentence'])} |"


def _mark(entry: Entry) -> str:
    post_hoc = " (post-hoc)" if entry["post_hoc"] else ""
    return f"{_MARKS.get(entry['verdict'], escaped(entry['verdict']))}{post_hoc}"


def _address(page: str) -> str:
    """Return a relative address without characters that would end a Markdown link."""
    return "".join(
        letter if letter.isalnum() or letter in "-_./" else "".join(f"%{byte:02X}" for byte in letter.encode())
        for letter in page
    )
