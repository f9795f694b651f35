"""What the page says for each verdict."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from types import ModuleType

import pytest

from harness.report import render_page

_SECTIONS = ["verdict", "systems", "samples", "training", "prompts", "cost", "data", "reproduce", "history"]


class _Text(HTMLParser):
    """The words of a page, its scripts and styles left out, and what its structure holds."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.sections: list[str] = []
        self.addresses: list[str] = []
        self._silent = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self._silent = tag in ("script", "style")
        if tag == "section":
            self.sections.append(named.get("id") or "")
        self.addresses += [value for name in ("src", "href", "action") if (value := named.get(name))]

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def _read(page: str) -> _Text:
    reader = _Text()
    reader.feed(page)
    return reader


@pytest.mark.parametrize(
    ("evidence", "sentence"),
    [
        (
            "go",
            "GO Tune: sft-lora-r16 in place of few-shot-8 takes ExactMatch from 50.0 % to 90.0 %, "
            "+40.0 pts [+33.0, +47.0], n = 24.",
        ),
        (
            "no_go",
            "NO-GO expected NO_GO (known negative) Use retrieval: rag-8 is the better answer, "
            "ExactMatch 80.0 % against 40.0 %: tuning changes it by -40.0 pts [-47.0, -33.0], n = 24.",
        ),
        (
            "inconclusive",
            "INCONCLUSIVE Enlarge the holdout to about 1,450 samples in place of 24: "
            "ExactMatch +6.0 pts [-2.0, +14.0] still spans +5.0 pts.",
        ),
        (
            "stopped",
            "NO-GO Keep prompting: few-shot-8 is already enough, so nothing was tuned: ExactMatch: the interval",
        ),
        ("invalid", "INVALID Decide nothing on this evidence. Clean the data: 1 holdout sample equals a train sample."),
    ],
)
def test_the_banner_says_in_one_sentence_what_to_do(made: ModuleType, evidence: str, sentence: str) -> None:
    assert sentence in _read(render_page(getattr(made, evidence)())).text


def test_the_page_answers_in_the_order_in_which_people_ask(made: ModuleType) -> None:
    assert _read(render_page(made.go())).sections == _SECTIONS


def test_a_criterion_shows_its_interval_against_its_threshold(made: ModuleType) -> None:
    page = render_page(made.go())
    assert 'aria-label="+40.2 pts [+33.1, +47.3] against the threshold +5.0 pts: met"' in page
    assert "Met Gain(ExactMatch, at_least=0.05) +40.2 pts [+33.1, +47.3]" in _read(page).text


def test_every_system_stands_with_its_interval_and_the_chosen_pair_is_marked(made: ModuleType) -> None:
    text = _read(render_page(made.go())).text
    assert "Holdout n = 24" in text
    assert "few-shot-8 chosen baseline · smollm2-135m-instruct · FewShot(shots=8) 50.0 % [45.0, 55.0]" in text
    assert "sft-lora-r16 chosen tuned" in text
    assert "90.0 % best [85.0, 95.0]" in text
    assert "Perplexity ↓ lower is better" in text


def test_a_difference_carries_its_doubt(made: ModuleType) -> None:
    text = _read(render_page(made.go())).text
    assert "+40.0 pts [+33.0, +47.0] 95 % interval · n = 24 · 3 seeds · p < 0.001" in text


def test_without_tuning_there_is_no_tuned_system_on_the_page(made: ModuleType) -> None:
    read = _read(render_page(made.stopped()))
    assert "training" not in read.sections
    assert "sft-lora-r16" not in read.text
    assert "What few-shot-8 answered on the dev set, scored by ExactMatch." in read.text
    assert "The holdout was not opened." in read.text


def test_invalid_evidence_names_the_check_and_the_rows(made: ModuleType) -> None:
    text = _read(render_page(made.invalid())).text
    assert "Invalid leakage train to holdout : 1 holdout sample equals a train sample." in text
    assert '["train-7", "holdout-3"]' in text


def test_a_changed_rule_is_marked_post_hoc_in_banner_and_history(made: ModuleType) -> None:
    text = _read(render_page(made.post_hoc(made.inconclusive()))).text
    assert "Post-hoc: the rule changed after the holdout was opened." in text
    assert "POST-HOC: the rule changed after the holdout was opened" in text
    assert text.count("2026-11-22 01:23 UTC") == 1  # the earlier verdict stays in the history


def test_a_met_rule_that_came_too_late_asks_for_a_fresh_holdout(made: ModuleType) -> None:
    late = made.post_hoc(made.go())
    late = replace(late, decision=replace(late.decision, verdict="INCONCLUSIVE"))
    assert (
        "Confirm it on a fresh holdout, since the rule was changed after this one was opened"
        in _read(render_page(late)).text
    )


def test_one_prompt_a_system_with_its_tokens(made: ModuleType) -> None:
    page = render_page(made.go(samples=40))
    assert page.count("&lt;|im_start|&gt;user") == 4
    assert "rag-8 baseline 240 tokens, of 240 to 244" in _read(page).text


def test_cost_stands_where_a_price_is_declared(made: ModuleType) -> None:
    text = _read(render_page(made.go())).text
    assert "Cost of 1,000" in text
    assert "sft-lora-r16 trained in 2 min 23 s, mean of 3 seeds;" in text


def test_the_page_says_how_to_reproduce_it(made: ModuleType) -> None:
    text = _read(render_page(made.go())).text
    assert "pytest experiments/home_commands.py" in text
    assert "Seeds 1, 2, 3" in text
    assert "transformers 5.23.0" in text
    assert "Looks at this holdout: 4" in text


def test_a_page_asks_nothing_of_any_network(made: ModuleType) -> None:
    addresses = _read(render_page(made.go())).addresses
    assert {address for address in addresses if not address.startswith(("#", "data:"))} == {"index.html"}


def test_text_of_a_model_stays_text(made: ModuleType) -> None:
    page = render_page(made.go(hostile=True))
    plain = render_page(made.go())
    assert page.count("<script") == plain.count("<script")
    assert page.count("</script") == plain.count("</script")
    assert re.search(r"<img", page) is None
    assert made.HOSTILE in "".join(_read(page).words)


def test_a_declaration_without_any_key_still_draws(made: ModuleType) -> None:
    evidence = made.go()
    bare = replace(evidence, experiment=replace(evidence.experiment, declaration={}))
    assert "pytest experiments/home_commands.py" in _read(render_page(bare)).text


def test_a_guard_that_shares_ids_with_the_task_is_not_mistaken_for_it(made: ModuleType) -> None:
    evidence = made.go()
    member = next(row for row in evidence.memberships if (row.system, row.split) == (made.TUNED, "holdout"))
    answer = next(row for row in evidence.answers if row.stage_key == member.stage_key)
    guarded = replace(
        evidence,
        memberships=(*evidence.memberships, replace(member, stage_key="guard")),
        stages=(*evidence.stages, replace(evidence.stages[0], key="guard", system=made.TUNED)),
        answers=(*evidence.answers, replace(answer, stage_key="guard", text="answer to another task")),
    )
    assert "answer to another task" not in render_page(guarded)
