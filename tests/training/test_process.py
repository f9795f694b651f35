"""Reading the logs of tuners while they grow."""

from pathlib import Path

import pytest

from harness.training.external.process import Followed, last_error, step_loss

_RECORDED = Path(__file__).with_name("external") / "recorded"


@pytest.mark.parametrize(
    ("line", "loss"),
    [
        ('{"current_steps": 2, "total_steps": 6, "loss": 6.5384, "lr": 0.0093}', 6.5384),
        ('{"current_steps": 6, "total_steps": 6, "eval_loss": 4.39}', None),
        ("{'loss': '5.347', 'grad_norm': '2.32', 'ppl': '210'}", 5.347),
        (" 67%|███ | 4/6 [00:07<00:04]      {'loss': '5.347', 'epoch': '1.333'}", 5.347),
        ("{'eval_loss': '4.874', 'eval_runtime': '0.07'}", None),
        ("{'train_runtime': '13.76', 'train_loss': '5.799'}", None),
        ("the loss of 3 rows", None),
        ('{"loss": ', None),
    ],
)
def test_a_line_tells_a_training_loss_or_none(line: str, loss: float | None) -> None:
    assert step_loss(line) == loss


@pytest.mark.parametrize(("name", "log"), [("llamafactory", "output/trainer_log.jsonl"), ("axolotl", "train.log")])
def test_each_step_of_a_recorded_log_is_found_once(name: str, log: str) -> None:
    followed = Followed(_RECORDED / name / log)

    assert len(followed.losses()) == 6
    assert followed.losses() == []


def test_half_a_line_is_left_for_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    followed = Followed(path)
    assert followed.losses() == []
    path.write_text('{"loss": 1.5}\n{"loss": 1.', encoding="utf-8")
    assert followed.losses() == [1.5]
    path.write_text('{"loss": 1.5}\n{"loss": 1.25}\n', encoding="utf-8")
    assert followed.losses() == [1.25]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Traceback\n  File x\nValueError: no such key: lora\nExiting\n", "ValueError: no such key: lora"),
        ("│ torch.OutOfMemoryError: out of memory │\n", "torch.OutOfMemoryError: out of memory"),
        ("Killed\n", "Killed"),
        ("", "it said nothing"),
    ],
)
def test_the_last_error_of_a_log_is_its_reason(tmp_path: Path, text: str, told: str) -> None:
    log = tmp_path / "train.log"
    log.write_text(text, encoding="utf-8")
    assert last_error(log) == told
