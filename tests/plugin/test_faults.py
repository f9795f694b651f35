"""A fault is an error with its cause and the way to go on, and what was finished stays."""

from harness.store.store import Store

RAISES = """
@dataclass(frozen=True)
class Picky:
    name: str = "picky"
    better: str = "higher"

    def score(self, sample, answer):
        if sample.id == "dev-13":
            raise ZeroDivisionError("no answer to divide by")
        return 1.0
"""


def test_a_metric_that_raises_is_an_error_that_names_metric_and_sample(pytester, lamps):
    lamps(before=RAISES, metrics="[ExactMatch(), Picky()]")
    result = pytester.runpytest("experiments")

    assert result.ret == 1
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["metric 'picky' on zero-shot, sample 'dev-13'*ZeroDivisionError: no answer to divide by*"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_failing_training_is_an_error_that_keeps_the_baselines(pytester, lamps):
    path = lamps()
    path.write_text(path.read_text().replace("ScriptedTuning(", "ScriptedTuning(fails_at_step=5, "))
    result = pytester.runpytest("experiments")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*training stopped at step 5*"])
    store = Store(pytester.path / "reports" / "results.duckdb")
    kept = "SELECT count(*) FROM answers JOIN stages ON stages.key = answers.stage_key WHERE kind = 'answer'"
    assert store.query(kept)[1] == [(10,)]


def test_an_engine_that_is_not_there_is_refused_before_any_time_is_spent(pytester, lamps):
    lamps(before="Scripted.engine = 'harness.inference.scirpted:open_engine'")
    result = pytester.runpytest_subprocess("experiments")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["model 'scripted' names 'harness.inference.scirpted:open_engine', which is not there*"]
    )
    assert not (pytester.path / "reports" / "results.duckdb").exists()
