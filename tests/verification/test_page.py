"""`harness verify`: a page's verdict follows from the scores it embeds, or it says which number does not."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.api import load_experiment, run_and_report
from harness.cli.__main__ import main
from harness.report.proof import seal_holds, seal_tag, sealed
from harness.runner.run import Options
from harness.stats.wording import STATISTICS

GO_IF = "go_if=[Gain(ExactMatch(), at_least=0.05)]"
OWN = '''
from harness.experiment.criteria import Finding


@dataclass(frozen=True)
class Length:
    """Characters of an answer, to a third: not a fraction."""

    name: str = "length"
    better: str = "lower"

    def score(self, sample, answer):
        return len(answer.text) / 3


@dataclass(frozen=True)
class Share:
    """A metric of the whole set that only this file can compute."""

    name: str = "share"
    better: str = "higher"

    def score(self, sample, answer):
        return Score(float(answer.text == sample.reference), detail=len(answer.text))

    def statistic(self, details, weights):
        return weights @ [float(detail > 2) for detail in details] / weights.sum(axis=1)


@dataclass(frozen=True)
class Cheerful:
    metrics: tuple = ("exact_match",)

    def judge(self, comparisons):
        return Finding(criterion="cheer", metric="exact_match", status="met", value=1.0, low=1.0, high=1.0,
                       threshold=0.0, sentence="All is well.")


@dataclass(frozen=True)
class Other(Lamps):
    name: str = "other"

    def samples(self, split):
        return tuple(
            Sample(id=s.id, input=s.input, reference=s.reference, group=f"g{n // 2}")
            for n, s in enumerate(super().samples(split))
        )
'''
LEAKY = '''

@dataclass(frozen=True)
class Leaky(Lamps):
    """Two holdout samples are training samples too."""

    def samples(self, split):
        own = super().samples(split)
        if split is not Split.HOLDOUT:
            return own
        known = super().samples(Split.TRAIN)
        return (
            *(Sample(id=s.id, input=k.input, reference=k.reference) for s, k in zip(own[:2], known)),
            *own[2:],
        )
'''
REPEATED = '''

@dataclass(frozen=True)
class Repeated(Lamps):
    """Ten holdout questions, each ten times, in other dress each time."""

    def samples(self, split):
        own = super().samples(split)
        if split is not Split.HOLDOUT:
            return own
        return tuple(
            Sample(id=s.id, input=own[n % 10].input + "!" * (n // 10), reference=own[n % 10].reference)
            for n, s in enumerate(own)
        )
'''
KINDS: dict[str, tuple[dict[str, object], str]] = {
    "go": ({}, GO_IF),
    "no_go": ({"base": 0.6, "tuned": 0.5}, GO_IF),
    "inconclusive": ({"base": 0.5, "tuned": 0.54}, GO_IF),
    "invalid": ({"learn": 0.0}, GO_IF),
    "stopped": ({"base": 1.0}, f"{GO_IF}, stop_if=[AtLeast(ExactMatch(), 0.6)]"),
    "several": (
        {"before": OWN, "metrics": "[ExactMatch(), MacroF1(), Length()]"},
        "go_if=[Gain(ExactMatch(), at_least=0.05), NoWorse(MacroF1(), 0.0), AtMost(Length(), 3.0)], seeds=(0, 1), "
        "guards=[Guard(Other(), ExactMatch(), by_at_most=0.1)]",
    ),
    "early": (
        {"metrics": "[ExactMatch(), MacroF1()]"},
        "go_if=[Gain(ExactMatch(), at_least=0.05)], stop_early=True",
    ),
    "leaky": (
        {"before": LEAKY, "task": "Leaky()"},
        "go_if=[Gain(ExactMatch(), at_least=0.05)], leaks='exclude'",
    ),
    "costly": (
        {"before": OWN},
        "go_if=[Gain(ExactMatch(), at_least=0.05), BreakEven(requests=1e9)], seeds=(0, 1), "
        "sampling=Sampling(temperature=0.7, repeats=2), costs=Costs(training_hour=2.0, serving_hour=2.0)",
    ),
    "guards_of_sets": (
        {"before": OWN},
        "go_if=[Gain(ExactMatch(), at_least=0.05)], guards=[Guard(Other(), MacroF1(), by_at_most=0.1), "
        "Guard(TextTask('general', ['One two three.', 'Four five.', 'Six.', 'One two three!']), Perplexity(), 0.5)]",
    ),
    "repeated": (
        {"before": REPEATED, "task": "Repeated()", "metrics": "[ExactMatch(), MacroF1(), TokensOut()]"},
        "go_if=[Gain(ExactMatch(), at_least=0.05), NoWorse(MacroF1(), 0.1)], "
        "guards=[Guard(Repeated(name='again'), ExactMatch(), by_at_most=0.1)]",
    ),
    "own": (
        {"before": OWN, "metrics": "[ExactMatch(), Share()]"},
        "go_if=[Gain(ExactMatch(), at_least=0.05), NoWorse(Share(), 0.9), Cheerful()]",
    ),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, write_experiment: Callable[..., Path]) -> Path:
    """The pages of one experiment of each kind."""
    folder = tmp_path_factory.mktemp("verified")
    for name, (changes, rule) in KINDS.items():
        path = write_experiment(folder / "experiments" / f"{name}.py", **changes)
        path.write_text(path.read_text().replace(GO_IF, rule))
        run_and_report(
            load_experiment(path),
            name=name,
            store_path=folder / "reports" / "results.duckdb",
            options=Options(file=path),
        )
    return folder / "reports"


@pytest.fixture
def verify(capsys: pytest.CaptureFixture[str]) -> Callable[[Path], tuple[int, list[str]]]:
    def run(page: Path) -> tuple[int, list[str]]:
        code = main(["verify", str(page)])
        shown = capsys.readouterr()
        return code, (shown.out + shown.err).splitlines()

    return run


def altered(page: Path, folder: Path, change: Callable[[dict], None], *, resealed: bool = False) -> Path:
    """Return a copy of `page` whose embedded proof was changed; resealed: by someone who knows of the seal."""
    text = page.read_text()
    found = re.search(r'id="proof">(.*?)</script>', text)
    assert found is not None
    proof = json.loads(found[1])
    change(proof)
    text = text[: found.start(1)] + json.dumps(proof, ensure_ascii=False) + text[found.end(1) :]
    if resealed:
        text = sealed(re.sub(r'<meta name="seal" content="\w+">', seal_tag(), text))
        assert seal_holds(text)
    copy = folder / page.name
    copy.write_text(text)
    return copy


def flip(place: int, metric: str, side: int = 1) -> Callable[[dict], None]:
    def change(proof: dict) -> None:
        pair = next(pair for pair in proof["pairs"] if pair["stored"]["metric"] == metric)
        digits = pair["sides"][side]["scores"][0]
        pair["sides"][side]["scores"][0] = digits[:place] + "10"[int(digits[place])] + digits[place + 1 :]

    return change


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("go", "OK  go: GO recomputed from 200 item scores in 1 comparison; every number agrees"),
        ("no_go", "OK  no_go: NO_GO recomputed from 200 item scores in 1 comparison; every number agrees"),
        (
            "inconclusive",
            "OK  inconclusive: INCONCLUSIVE recomputed from 200 item scores in 1 comparison; every number agrees",
        ),
        ("invalid", "OK  invalid: INVALID recomputed from its checks; every number agrees"),
        ("stopped", "OK  stopped: NO_GO recomputed from 10 item scores in 1 comparison; every number agrees"),
        ("early", "OK  early: GO recomputed from 64 item scores in 2 comparisons; every number agrees"),
        ("leaky", "OK  leaky: GO recomputed from 196 item scores in 1 comparison; every number agrees"),
        (
            "guards_of_sets",
            "OK  guards_of_sets: GO recomputed from 408 item scores in 3 comparisons; every number agrees",
        ),
        (
            "repeated",
            "OK  repeated: INCONCLUSIVE recomputed from 800 item scores in 4 comparisons; every number agrees",
        ),
        ("several", "OK  several: GO recomputed from 1,200 item scores in 4 comparisons; every number agrees"),
    ],
)
def test_a_page_as_drawn_holds(reports, verify, name, line):
    assert verify(reports / f"{name}.html") == (0, [line])


def test_one_altered_score_is_found_and_the_numbers_are_named(reports, verify, tmp_path):
    code, lines = verify(altered(reports / "go.html", tmp_path, flip(3, "exact_match")))

    assert code == 1
    assert lines[:4] == [
        "DIFFERS  go: GO is not what the page's own scores give",
        "  the seal: the page's text was changed after it was drawn",
        "  exact_match: the tuned mean is 90.0 % on the page, recomputed 89.0 %",
        "  exact_match: the low end of the tuned mean is 82.5634 % on the page, recomputed 81.3687 %",
    ]
    assert "  exact_match: the difference is +70.0 pts on the page, recomputed +69.0 pts" in lines


def test_a_renewed_seal_does_not_help(reports, verify, tmp_path):
    code, lines = verify(altered(reports / "no_go.html", tmp_path, flip(3, "exact_match"), resealed=True))

    assert code == 1
    assert lines[1] == "  exact_match: the tuned mean is 50.0 % on the page, recomputed 49.0 %"


def test_a_guards_scores_are_recomputed_too(reports, verify, tmp_path):
    code, lines = verify(altered(reports / "several.html", tmp_path, flip(7, "other: exact_match"), resealed=True))

    assert code == 1
    assert lines[1] == "  other: exact_match: the tuned mean is 90.0 % on the page, recomputed 89.5 %"


def test_a_score_that_no_number_stands_on_breaks_the_seal(reports, verify, tmp_path):
    code, lines = verify(altered(reports / "several.html", tmp_path, flip(7, "macro_f1")))

    assert code == 1
    assert lines[1:] == ["  the seal: the page's text was changed after it was drawn"]


def test_an_alteration_too_small_to_be_seen_is_found(reports, verify, tmp_path):
    def change(proof: dict) -> None:
        pair = next(pair for pair in proof["pairs"] if pair["stored"]["metric"] == "length")
        pair["sides"][1]["scores"][0][5] += 1e-6

    code, lines = verify(altered(reports / "several.html", tmp_path, change, resealed=True))

    assert code == 1
    assert re.match(r"  length: the tuned mean is 1\.\d{9,} on the page, recomputed 1\.\d{9,}$", lines[1])


def test_a_detail_of_a_metric_of_the_set_is_found(reports, verify, tmp_path):
    def change(proof: dict) -> None:
        pair = next(pair for pair in proof["pairs"] if pair["stored"]["metric"] == "macro_f1")
        pair["sides"][1]["details"][0]["codes"][0] = pair["sides"][1]["details"][0]["codes"][1]

    code, lines = verify(altered(reports / "several.html", tmp_path, change, resealed=True))

    assert (code, lines[1].startswith("  macro_f1: the tuned mean is ")) == (1, True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p["checks"][0].update(status="invalid"), "  the verdict is GO, recomputed INVALID"),
        (lambda p: p.update(post_hoc=True), "  the verdict is GO, recomputed INCONCLUSIVE"),
        (lambda p: p["rule"]["go_if"][0].update(number=0.9), "  the verdict is GO, recomputed NO_GO"),
        (lambda p: p["noise"].update(exact_match=0.8), "  the verdict is GO, recomputed INCONCLUSIVE"),
        (lambda p: p.update(verdict="NO_GO"), "  the page shows GO, not NO_GO"),
    ],
)
def test_what_the_decision_stands_on_cannot_be_changed(reports, verify, tmp_path, change, said):
    code, lines = verify(altered(reports / "go.html", tmp_path, change, resealed=True))

    assert code == 1
    assert said in lines


def test_the_text_a_reader_sees_is_checked_against_the_numbers(reports, verify, tmp_path):
    text = (reports / "inconclusive.html").read_text()
    page = tmp_path / "inconclusive.html"
    page.write_text(text.replace("+4.0 pts", "+9.0 pts").replace("banner INCONCLUSIVE", "banner GO"))
    code, lines = verify(page)

    assert code == 1
    assert lines[1:3] == [
        "  the seal: the page's text was changed after it was drawn",
        "  the page shows GO, not INCONCLUSIVE",
    ]
    assert lines[3].startswith("  exact_match: the page does not show its difference, +4.0 pts [")


def test_what_only_the_users_code_computes_is_said(reports, verify):
    assert verify(reports / "own.html") == (
        0,
        [
            "OK  own: GO recomputed from 200 item scores in 1 comparison; every number agrees",
            "  remark: share: its own code computes it; its comparison is taken as recorded",
            "  remark: Cheerful: a criterion of one's own; its finding is taken as recorded",
        ],
    )


def test_repeats_and_break_even_are_recomputed(reports, verify, tmp_path):
    line, remark = verify(reports / "costly.html")[1]
    assert re.match(r"OK  costly: \w+ recomputed from 600 item scores in 1 comparison; every number agrees$", line)
    assert remark == "  remark: break_even: what each request cost is taken as recorded, and divided again"

    code, lines = verify(
        altered(reports / "costly.html", tmp_path, lambda p: p["break_even"]["requests"].update(low=7.0), resealed=True)
    )
    assert code == 1
    assert any(text.startswith("  break_even: low is 7 requests on the page, recomputed ") for text in lines)


def test_the_users_code_is_not_run(reports, verify, tmp_path):
    def change(proof: dict) -> None:
        metric = next(metric for metric in proof["rule"]["metrics"] if metric["name"] == "share")
        metric["statistic"].update({"class": "subprocess:Popen", "fields": {"args": "false"}})

    code, lines = verify(altered(reports / "own.html", tmp_path, change, resealed=True))

    assert code == 0
    assert lines[1] == "  remark: share: its own code computes it; its comparison is taken as recorded"


def test_a_page_of_an_earlier_version_is_said_to_be_unchecked(reports, verify, tmp_path):
    page = altered(reports / "several.html", tmp_path, lambda p: p.update(rule=None), resealed=True)

    code, lines = verify(page)
    assert code == 0
    assert lines == [
        "OK  several: GO stands as it was drawn; its decision was not recomputed",
        "  remark: no rule is embedded, so every number stands as recorded: run the experiment again",
    ]


@pytest.mark.parametrize("change", [lambda p: p.pop("statistics"), lambda p: p.update(statistics=1)])
def test_a_page_of_other_statistics_is_named_and_not_compared(reports, verify, tmp_path, change):
    def aged(proof: dict) -> None:
        change(proof)
        proof["pairs"][0]["stored"]["low"] -= 0.1

    code, lines = verify(altered(reports / "go.html", tmp_path, aged, resealed=True))

    assert code == 3
    assert lines == [
        f"OLDER  go: GO was made under statistics 1, this harness computes by {STATISTICS}: not compared; run the "
        "experiment again for a verdict by today's"
    ]


def test_an_older_page_that_was_changed_differs(reports, verify, tmp_path):
    code, lines = verify(altered(reports / "go.html", tmp_path, lambda p: p.pop("statistics")))

    assert code == 1
    assert lines[1:] == ["  the seal: the page's text was changed after it was drawn"]


def test_line_ends_do_not_break_the_seal(reports, verify, tmp_path):
    page = tmp_path / "go.html"
    page.write_bytes((reports / "go.html").read_bytes().replace(b"\n", b"\r\n"))

    assert verify(page)[0] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no such file; name a page, such as reports/home_commands.html"),
        ("<p>hello</p>", "holds no item scores; draw it again with: harness report"),
        ('<script type="application/json" id="proof">{"format": 1}</script>', "its embedded scores cannot be read"),
        ('<script type="application/json" id="proof">{"format": 7}</script>', "are of format 7, this version reads 1"),
    ],
)
def test_what_is_no_page_is_a_mistake_in_one_line(verify, tmp_path, text, said):
    page = tmp_path / "page.html"
    if text is not None:
        page.write_text(text)
    code, (line,) = verify(page)

    assert code == 2
    assert said in line


def test_a_glob_over_the_folder_leaves_the_list_of_experiments_out(reports, tmp_path, capsys):
    page = next(path for path in Path(reports).glob("*.html") if path.name != "index.html")
    index = tmp_path / "index.html"
    index.write_text("<p>experiments</p>", encoding="utf-8")

    assert main(["verify", str(index), str(page)]) == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first == f"{index}: the list of experiments, left out"
    assert second.startswith("OK ")
