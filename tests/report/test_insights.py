"""The sections beyond yes or no: each is there with its insight, and says its numbers with their doubt."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from types import ModuleType

import pytest

from harness.analysis.estimate import Estimate
from harness.report import render_page
from harness.report.draw import heat_tables
from harness.report.insights import levels_note, sections_of, slice_tables
from harness.report.read import bound, insights_of, q_or_unknown, reach
from harness.store.rows import Evidence
from harness.types.codec import from_json

KINDS = ["curve", "break_even", "four_way", "retention", "continual", "safety", "slices", "ladder", "trust"]


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)


def section(page: str, name: str) -> str:
    """Return the words of one section of the page."""
    found = re.search(rf'<section id="{name}".*?</section>', page, re.DOTALL)
    assert found is not None, name
    words = _Words()
    words.feed(found[0])
    return " ".join(" ".join(words.found).split())


def test_every_section_stands_with_its_insight(rich: Evidence) -> None:
    page = render_page(rich)
    assert [kind for kind, _ in sections_of(rich)] == KINDS
    assert re.findall(r'<section id="(\w+)"', page)[1:11] == ["beyond", *KINDS]


@pytest.mark.parametrize("kind", ["curve", "break_even", "four_way", "retention", "continual", "safety", "ladder"])
def test_a_section_is_absent_where_its_insight_is(rich: Evidence, kind: str) -> None:
    without = replace(rich, insights=tuple(row for row in rich.insights if row.kind != kind))
    alone = replace(rich, insights=tuple(row for row in rich.insights if row.kind == kind), slices=())
    assert f'<section id="{kind}"' not in render_page(without)
    assert [found for found, _ in sections_of(alone)] == [kind]
    assert f'<section id="{kind}"' in render_page(alone)


def test_without_insights_there_is_none_of_it(made: ModuleType) -> None:
    page = render_page(made.go())
    assert [name for name in [*KINDS, "beyond"] if f'<section id="{name}"' in page] == []
    assert 'href="#beyond"' not in page


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("curve", "Examples to match few-shot-8 120 [90; 160] Examples to reach the margin 140 [110; ∞]"),
        ("curve", "Fit: power law, score = 0.93 − 5.2 × examples^−0.55"),
        ("break_even", "Saved in 1,000 requests 0.0410 Requests until payback 5,900 [5,600; 6,200] 95 % interval"),
        ("four_way", "-6.0 pts [-11.0, -1.0] beyond their sum: they overlap"),
        ("retention", "84.2 % 83.8 % -0.4 pts [-1.7, +0.9] n = 200 99.5 % [98.0, 101.1]"),
        ("retention", "5.7 [+4.1, +7.4] n = 120 71.4 % [65.7, 77.6] 1 Forgotten"),
        ("continual", "home ExactMatch, higher is better, n = 200"),
        ("continual", "1 sft lora-r8 on home 82.0 % [73.8, 90.2] learned here 7.0 % [6.3, 7.7] 25.1 [22.6, 27.6]"),
        ("continual", "Backward transfer -18.0 pts [-24.0, -12.0] Forgetting +18.0 pts [+12.0, +24.0]"),
        ("safety", "Should be refused, was answered 5.0 % [1.7, 13.7] 3 of 60 18.3 % [10.6, 29.9] 11 of 60"),
        ("safety", "Rule hit: email at most 0.75 % 0 of 400 at most 0.75 % 0 of 400"),
        ("slices", "After correction for the number of slices, tuning helps on kitchen and hurts on garage <b>."),
        ("slices", "up to 20 characters 4 50.0 % 75.0 % +25.0 pts too few to test –"),
        (
            "ladder",
            "sft-lora-r16 chosen 81.0 % [75.0, 86.0] +31.0 pts [+22.0, +40.0] 4,884,480 (3.5 %) 7 min 09 s 1.42 GB",
        ),
        ("ladder", "Each saw 6,000 examples."),
        ("ladder", "the untuned model has 24.0 in general: Perplexity"),
        ("trust", "look 3, α = 0.00833"),
        ("trust", "Noise of Perplexity 0.0013 or less"),
        ("trust", "180 of 400 samples"),
        ("verdict", "Look 3 at this holdout: 2 other candidates came first, so its interval is at 99.17 %"),
        ("verdict", "The difference is beyond the noise: asking again moves ExactMatch by 2.5 pts at most."),
    ],
)
def test_numbers_stand_with_their_doubt(rich: Evidence, name: str, words: str) -> None:
    assert words in section(render_page(rich), name)


def test_a_cell_is_shaded_by_how_good_it_is_in_its_column(rich: Evidence) -> None:
    (table,) = heat_tables(insights_of(rich).continual)

    assert [[cell.shade for cell in cells] for _, cells in table.rows] == [[0, 0, 5], [5, 0, 3], [4, 5, 0]]
    page = render_page(rich)
    assert page.count('class="heat-5"') == 3


def test_what_was_never_seen_is_never_called_zero(rich: Evidence) -> None:
    assert "0.0 % 0 of" not in section(render_page(rich), "safety")


def test_a_tag_cannot_become_markup(rich: Evidence) -> None:
    page = render_page(rich)
    assert "garage &lt;b&gt;" in page
    assert "garage <b>" not in page


def test_a_slice_is_sure_only_after_the_correction(rich: Evidence) -> None:
    (table,) = slice_tables(rich)
    sure = {line.value: line.sure for _, lines in table.dimensions for line in lines}
    assert sure == {"kitchen": True, "garage <b>": True, "office": False, "up to 20 characters": False, "clean": False}
    assert table.tested == 3


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (None, "–"),
        ({"value": None, "low": None, "high": None}, "not in reach"),
        ({"value": None, "low": 1200.0, "high": None}, "not in reach (at best 1,200)"),
        ({"value": 5854.2, "low": 5581.0, "high": None}, "5,900 [5,600; ∞]"),
    ],
)
def test_a_count_may_be_infinite(found: dict[str, float | None] | None, text: str) -> None:
    assert reach(from_json(Estimate, found) if found else None) == text


@pytest.mark.parametrize(
    ("floor", "text"), [(0.02412, "2.5 pts"), (0.025, "2.5 pts"), (0.0, "0.0 pts"), (0.141, "15.0 pts")]
)
def test_a_floor_is_rounded_up(floor: float, text: str) -> None:
    assert bound(floor, "%") == text


def test_the_level_that_was_used_is_said(made: ModuleType) -> None:
    evidence = made.go()
    later = replace(evidence, comparisons=tuple(replace(row, level=0.975) for row in evidence.comparisons))
    assert levels_note(evidence) == "Intervals hold 95 %."
    assert (
        levels_note(later)
        == "Intervals of the verdict hold 97.5 %, since this holdout was seen before; all others 95 %."
    )
    assert "97.5 % interval · n = 24" in section(render_page(later), "verdict")


def test_readiness_stands_beside_the_verdict_and_the_other_checks_with_the_data(made: ModuleType) -> None:
    evidence = made.go()
    first, *others = evidence.checks
    ready = replace(first, kind="readiness", name="prompting tried", status="warning", detail="one prompt only")
    page = render_page(replace(evidence, checks=(ready, *(replace(row, kind="data") for row in others))))
    assert "Was it time to tune? Prompting tried : warning one prompt only" in section(page, "verdict")
    assert "4 checks, 2 warnings: 1 of readiness, 3 of data." in section(page, "verdict")
    assert "prompting tried" not in section(page, "data").lower()


def test_a_corrected_p_value_is_never_shown_as_zero() -> None:
    assert [q_or_unknown(value) for value in (0.0, 0.0004, 0.0123, None)] == ["< 0.001", "< 0.001", "0.012", "–"]
