"""A small task with groups, tags and a corpus, in two languages."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.types.samples import Message, Messages, Passage, Sample, Split


@dataclass(frozen=True)
class Commands:
    """Requests to a home; `corpus` is made from samples of all splits, as a careless task would."""

    rows: dict[Split, tuple[Sample, ...]]
    extra: tuple[Passage, ...] = ()
    system: str = "Answer with the action."
    name: str = "commands"
    prompts: list[str] = field(default_factory=list)

    def samples(self, split: Split) -> Sequence[Sample]:
        return self.rows[split]

    def prompt(self, sample: Sample) -> Messages:
        self.prompts.append(sample.id)
        return (Message("system", self.system), Message("user", f"Request: {sample.input}"))

    def read(self, text: str) -> object | None:
        return text

    def corpus(self) -> Sequence[Passage]:
        made = [
            Passage(id=f"passage-{row.id}", text=f"{row.input} -> {row.reference}", sample_id=row.id, group=row.group)
            for rows in self.rows.values()
            for row in rows
        ]
        return [*made, *self.extra]


def _rows(prefix: str, *rows: tuple[str, str, str | None]) -> tuple[Sample, ...]:
    return tuple(
        Sample(id=f"{prefix}{number}", input=text, reference=action, group=group, tags={"verb": action.split()[0]})
        for number, (text, action, group) in enumerate(rows, start=1)
    )


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def english() -> Commands:
    return Commands(
        {
            Split.TRAIN: _rows(
                "t",
                ("turn on the kitchen light", "light on", "on"),
                ("switch the kitchen light on", "light on", "on"),
                ("turn off the bedroom lamp", "light off", "off"),
                ("set the heating to twenty degrees", "heat 20", "heat"),
                ("lower the living room blinds", "blinds down", "blinds"),
                ("raise the living room blinds", "blinds up", "blinds"),
            ),
            Split.DEV: _rows("d", ("raise the office blinds", "blinds up", "dev")),
            Split.HOLDOUT: _rows("h", ("turn on the hall light", "light on", "hold")),
        }
    )


@pytest.fixture
def chinese() -> Commands:
    return Commands(
        {
            Split.TRAIN: _rows(
                "t",
                ("打开厨房的灯", "light on", None),
                ("关闭卧室的台灯", "light off", None),
                ("把暖气调到二十度", "heat 20", None),
                ("放下客厅的百叶窗", "blinds down", None),
            ),
            Split.DEV: _rows("d", ("升起书房的百叶窗", "blinds up", None)),
            Split.HOLDOUT: _rows("h", ("请打开厨房灯", "light on", None)),
        }
    )
