"""HFMetric on real metric scripts of the evaluate library."""

from collections.abc import Iterator
from pathlib import Path

import evaluate.config
import pytest

from harness.errors import InvalidExperiment, MissingPackage
from harness.inference.hf_metric import score_all
from harness.metrics.model_based import HFMetric
from harness.types.protocols import Executed
from harness.types.samples import Answer, Sample, Score

SCRIPT = """
import datasets
import evaluate
{extra}

class WordOverlap(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description="", citation="", inputs_description="",
            features=datasets.Features({{"predictions": datasets.Value("{dtype}"), "references": {references}}}),
        )

    def _compute(self, predictions, references, **options):
        {body}
"""
OVERLAP = (
    "said, due = set(predictions[0].split()), set(references[0].split()); "
    'return {"overlap": len(said & due) / len(said | due), "words": [len(said)]}'
)


@pytest.fixture(scope="module", autouse=True)
def own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the copies of scripts that the library makes out of the user's cache; a process has one such folder."""
    folder = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate.config, "HF_METRICS_CACHE", folder / "metrics")
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", str(folder / "modules"))
        patch.syspath_prepend(str(folder / "modules"))
        yield


def script(folder: Path, name: str, body: str = OVERLAP, *, dtype="string", references=None, extra="") -> str:
    path = folder / f"{name}.py"
    references = references or f'datasets.Value("{dtype}")'
    path.write_text(SCRIPT.format(body=body, dtype=dtype, references=references, extra=extra))
    return str(path)


def samples_and_answers(rows):
    samples = [Sample(id=f"s{n}", input="", reference=ref, expected=len(ref)) for n, (_, ref) in enumerate(rows)]
    answers = [Answer(sample_id=f"s{n}", text=text, value=len(text) or None) for n, (text, _) in enumerate(rows)]
    return samples, answers


ROWS = [("light on", "light on"), ("light off", "light on"), ("", "light on")]


def test_each_sample_is_scored_by_itself_and_the_detail_is_the_whole_result(tmp_path: Path):
    metric = HFMetric(script(tmp_path, "word_overlap"), key="overlap")
    assert score_all(metric, *samples_and_answers(ROWS)) == [
        Score(1.0, {"overlap": 1.0, "words": [2]}),
        Score(1 / 3, {"overlap": 1 / 3, "words": [2]}),
        Score(0.0, {"overlap": 0.0, "words": [0]}),
    ]


def test_a_list_of_one_is_a_number_and_numpy_numbers_become_pythons(tmp_path: Path):
    body = 'import numpy; return {"size": numpy.array([len(predictions[0])], dtype=numpy.float32)}'
    scores = score_all(HFMetric(script(tmp_path, "size_of_text", body)), *samples_and_answers(ROWS[:1]))
    assert scores == [Score(8.0, {"size": [8.0]})]
    assert type(scores[0].value) is float


def test_references_can_be_lists_and_options_are_passed(tmp_path: Path):
    body = 'return {"hits": options["scale"] * sum(predictions[0] == reference for reference in references[0])}'
    source = script(tmp_path, "any_reference", body, references='datasets.Sequence(datasets.Value("string"))')
    metric = HFMetric(source, references="list", options={"scale": 2})
    assert [score.value for score in score_all(metric, *samples_and_answers(ROWS))] == [2.0, 0.0, 0.0]


def test_values_are_passed_on_request_and_an_unreadable_answer_has_its_own_score(tmp_path: Path):
    body = 'return {"error": abs(predictions[0] - references[0])}'
    source = script(tmp_path, "absolute_error", body, dtype="int64")
    metric = HFMetric(source, better="lower", inputs="value", unreadable=100.0)
    assert score_all(metric, *samples_and_answers(ROWS)) == [
        Score(0.0, {"error": 0}),
        Score(1.0, {"error": 1}),
        Score(100.0, {"unreadable": True}),
    ]


def test_several_results_need_a_key_and_a_wrong_key_names_the_right_ones(tmp_path: Path):
    source = script(tmp_path, "two_results")
    with pytest.raises(InvalidExperiment, match="gives overlap, words; choose one with key="):
        score_all(HFMetric(source), *samples_and_answers(ROWS))
    with pytest.raises(InvalidExperiment, match="it gives overlap, words; choose one"):
        score_all(HFMetric(source, key="f1"), *samples_and_answers(ROWS))


def test_a_result_that_is_no_number_is_refused(tmp_path: Path):
    source = script(tmp_path, "a_word", 'return {"verdict": "good"}')
    with pytest.raises(InvalidExperiment, match="verdict is 'good' for one sample, not a number"):
        score_all(HFMetric(source), *samples_and_answers(ROWS))


def test_a_hub_name_offline_says_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidExperiment, match=r"'no_such_metric_here'.*the hub did not give it.*give the path"):
        score_all(HFMetric("no_such_metric_here"), *samples_and_answers(ROWS))


def test_a_package_that_the_metric_needs_is_named(tmp_path: Path):
    source = script(tmp_path, "needs_more", extra="import a_package_nobody_has")
    with pytest.raises(MissingPackage, match="a_package_nobody_has"):
        score_all(HFMetric(source), *samples_and_answers(ROWS))


def test_the_name_is_the_last_part_of_the_source():
    sources = ["rouge", "evaluate-metric/bleu", "/data/metrics/word_overlap.py", "metrics/own/"]
    assert [HFMetric(source).name for source in sources] == ["rouge", "bleu", "word_overlap", "own"]
    assert isinstance(HFMetric("rouge"), Executed)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": " "}, "names nothing"),
        ({"source": "rouge", "better": "up"}, 'better is "higher" or "lower"'),
        ({"source": "rouge", "references": "many"}, 'references is "one" or "list"'),
        ({"source": "rouge", "inputs": "ids"}, 'inputs is "text" or "value"'),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(fields, message):
    with pytest.raises(InvalidExperiment, match=message):
        HFMetric(**fields)
