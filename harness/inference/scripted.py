"""A model that answers from a table and is "tuned" by adding rows: the whole path in milliseconds, with no weights."""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from harness.errors import InvalidExperiment, StageFailed
from harness.prompting.zero_shot import ZeroShot
from harness.types.jobs import LogPoint, TuneJob, TuneResult
from harness.types.protocols import Batch, LikelihoodBatch, Progress, Strategy, Task
from harness.types.samples import Check, Completion, Decoding, Example, Likelihood, Messages

Pairs = tuple[tuple[str, str], ...]

_ADAPTER = "adapter.json"
_BATCH = 8
_STEPS = 8
# Log-probability of one word, in nats: of an answer that the table gives, and of any other.
_KNOWN, _UNKNOWN = -0.1, -3.0


@dataclass(frozen=True)
class Scripted:
    """A table in place of a model.

    Args:
        answers: (text of the last user message, answer), or a mapping.
        default: The answer to anything else.
        after_tuning: Rows that a tuned system knows on top of its training rows: what it "learned to generalise".
        seconds_per_answer: For tests that interrupt a run; what is recorded varies by a tenth around it, with the
            question.
    """

    answers: Mapping[str, str] | Pairs = ()
    default: str = "I do not know."
    name: str = "scripted"
    after_tuning: Mapping[str, str] | Pairs = ()
    seconds_per_answer: float = field(default=0.0, metadata={"key": False})

    engine: ClassVar[str] = "harness.inference.scripted:open_engine"

    def __post_init__(self) -> None:
        object.__setattr__(self, "answers", _pairs(self.answers))
        object.__setattr__(self, "after_tuning", _pairs(self.after_tuning))


@dataclass(frozen=True, kw_only=True)
class ScriptedTuning:
    """A recipe that adds training rows to a `Scripted` model's table.

    Args:
        learn: The fraction of rows added, drawn by the seed; 0 plants an adapter that changes nothing.
        generalise: The fraction of dev rows that are known too.
        forget: The fraction of an earlier step's rows that are lost.
        task, mix: As in SFT.
        fails_at_step: Plants a training run that stops at this step of 8.
    """

    name: str = "scripted-tuning"
    learn: float = 1.0
    prompt: Strategy = field(default_factory=ZeroShot)
    fails_at_step: int | None = None
    generalise: float = field(default=0.0, metadata={"key": "changed"})
    forget: float = field(default=0.0, metadata={"key": "changed"})
    task: Task | None = field(default=None, repr=False, metadata={"key": False})
    mix: tuple[tuple[Task, float], ...] = field(default=(), repr=False, metadata={"key": False})

    trainer: ClassVar[str] = "harness.inference.scripted:fit"

    def __post_init__(self) -> None:
        for name in ("learn", "generalise", "forget"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidExperiment(
                    f"ScriptedTuning({name}={getattr(self, name)}): a fraction from 0 to 1 is needed"
                )


def open_engine(model: Scripted, *, progress: Progress) -> "ScriptedEngine":
    """Return what answers from the table of `model`."""
    return ScriptedEngine(model)


def fit(job: TuneJob, *, progress: Progress) -> TuneResult:
    """Write the adapter folder of a `ScriptedTuning` job: what is left of an earlier step's rows, and those learned.

    Raises:
        StageFailed: At `fails_at_step`.
    """
    recipe = job.recipe
    if not isinstance(recipe, ScriptedTuning):
        raise InvalidExperiment(
            f"harness.inference.scripted:fit carries out ScriptedTuning, not {type(recipe).__name__}"
        )
    rows = [
        *_rows(job.train, seed=job.seed, fraction=recipe.learn),
        *_rows(job.replay, seed=job.seed, fraction=recipe.learn),
        *_rows(job.dev, seed=job.seed, fraction=recipe.generalise),
    ]
    log = tuple(_training(job, recipe, progress))
    job.folder.mkdir(parents=True, exist_ok=True)
    kept = [] if job.start is None else _kept(job.start, seed=job.seed, fraction=1 - recipe.forget)
    content = {"rows": [*kept, *rows], "learn": recipe.learn, "seed": job.seed}
    (job.folder / _ADAPTER).write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    taught = (*job.train, *job.replay)
    words = sum(len(_question(example.prompt).split()) + len(example.answer.split()) for example in taught)
    return TuneResult(
        folder=job.folder,
        log=log,
        checks=(_changes_something(rows, recipe),),
        tokens=words,
        trainable_parameters=len(job.train),
        total_parameters=len(job.train),
        environment={"engine": "scripted"},
    )


class ScriptedEngine:
    """A table that answers; see `harness.types.protocols.Engine`. A token is a word."""

    def __init__(self, model: Scripted) -> None:
        self._model = model
        self._base = dict(_pairs(model.answers))
        self._table = self._base

    @property
    def description(self) -> dict[str, str | int | float | bool | None]:
        return {"engine": "scripted", "model": self._model.name, "rows": len(self._table)}

    def generate(
        self, prompts: Sequence[Messages], decoding: Decoding, *, done: frozenset[int] = frozenset()
    ) -> Iterator[Batch]:
        for positions in _batches(len(prompts), done):
            yield positions, tuple(self._completion(prompts[position], decoding) for position in positions)

    def likelihoods(
        self, requests: Sequence[tuple[Messages, str]], *, done: frozenset[int] = frozenset()
    ) -> Iterator[LikelihoodBatch]:
        for positions in _batches(len(requests), done):
            yield positions, tuple(self._likelihood(*requests[position]) for position in positions)

    def use(self, adapter: Path | None) -> None:
        """Answer with the rows in folder `adapter` added; raises StageFailed where it holds no adapter.json."""
        self._table = self._base if adapter is None else self._base | self._learned(adapter)

    def close(self) -> None:
        """Nothing is held."""

    def _learned(self, adapter: Path) -> dict[str, str]:
        rows, seed, learn = _read(adapter)
        hidden = _pairs(self._model.after_tuning)
        return rows | {text: answer for text, answer in hidden if _drawn(text, seed=seed, fraction=learn)}

    def _answer(self, prompt: Messages) -> str:
        return self._table.get(_question(prompt), self._model.default)

    def _completion(self, prompt: Messages, decoding: Decoding) -> Completion:
        time.sleep(self._model.seconds_per_answer)
        text = self._answer(prompt)
        for stop in decoding.stop:
            text = text.partition(stop)[0]
        words = text.split()
        cut = len(words) > decoding.max_tokens
        shown = "\n\n".join(f"{message.role}: {message.text}" for message in prompt)
        return Completion(
            text=" ".join(words[: decoding.max_tokens]) if cut else text,
            prompt=shown,
            tokens_in=len(shown.split()),
            tokens_out=min(len(words), decoding.max_tokens),
            seconds=self._model.seconds_per_answer * _pace(_question(prompt)),
            ended="length" if cut else "stop",
        )

    def _likelihood(self, prompt: Messages, answer: str) -> Likelihood:
        known = self._answer(prompt) == answer
        words = len(answer.split())
        return Likelihood(words * (_KNOWN if known else _UNKNOWN), words, len(answer.encode()), greedy=known)


def _rows(examples: Sequence[Example], *, seed: int, fraction: float) -> list[tuple[str, str]]:
    asked = [(_question(example.prompt), example.answer) for example in examples]
    return [(question, answer) for question, answer in asked if _drawn(question, seed=seed, fraction=fraction)]


def _kept(start: Path, *, seed: int, fraction: float) -> list[tuple[str, str]]:
    """Return what is left of the rows that an earlier step knew."""
    rows, _, _ = _read(start)
    # Another draw than that of learning: else what was learned first would be forgotten first.
    return [row for row in rows.items() if _drawn(f"kept {row[0]}", seed=seed, fraction=fraction)]


def _read(adapter: Path) -> tuple[dict[str, str], int, float]:
    """Return the rows of a scripted adapter, its seed and the fraction it learned."""
    try:
        content = json.loads((adapter / _ADAPTER).read_text(encoding="utf-8"))
        rows = {str(question): str(answer) for question, answer in content["rows"]}
        return rows, int(content["seed"]), float(content["learn"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StageFailed(f"{adapter / _ADAPTER} cannot be read as a scripted adapter: {error}") from error


def _training(job: TuneJob, recipe: ScriptedTuning, progress: Progress) -> Iterator[LogPoint]:
    """Yield a loss that falls as far as the recipe learns."""
    with progress.meter(f"{recipe.name}, seed {job.seed}", total=_STEPS, unit="steps") as meter:
        for step in range(1, _STEPS + 1):
            if step == recipe.fails_at_step:
                raise StageFailed(f"{recipe.name}: training stopped at step {step}, as the script says")
            loss = 3.0 * (1 - recipe.learn * step / (_STEPS + 1))
            yield LogPoint(step=step, epoch=step / _STEPS, name="loss", value=loss)
            yield LogPoint(step=step, epoch=step / _STEPS, name="dev_loss", value=loss + 0.1)
            meter.advance()


def _changes_something(rows: Sequence[tuple[str, str]], recipe: ScriptedTuning) -> Check:
    if rows:
        return Check(name="tuned differs from base", status="ok", detail=f"{len(rows)} rows were added")
    return Check(
        name="tuned differs from base",
        status="invalid",
        detail=f"{recipe.name} added no row: the tuned system is the base system",
    )


def _batches(count: int, done: frozenset[int]) -> Iterator[tuple[int, ...]]:
    for start in range(0, count, _BATCH):
        positions = tuple(range(start, min(start + _BATCH, count)))
        if not done.issuperset(positions):
            yield positions


def _question(prompt: Messages) -> str:
    """Return the text of the last user message: the table's key."""
    return next((message.content for message in reversed(prompt) if message.role == "user"), "")


def _drawn(text: str, *, seed: int, fraction: float) -> bool:
    """Tell whether a row is among the `fraction` that a run with `seed` learns."""
    digest = hashlib.sha256(f"{seed}:{text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def _pace(text: str) -> float:
    """Return by how much an answer takes longer than the mean: 0.9 to 1.1, always the same for one question."""
    return 0.9 + 0.2 * hashlib.sha256(text.encode()).digest()[0] / 255


def _pairs(table: Mapping[str, str] | Iterable[tuple[str, str]]) -> Pairs:
    rows = table.items() if isinstance(table, Mapping) else table
    return tuple((str(question), str(answer)) for question, answer in rows)
