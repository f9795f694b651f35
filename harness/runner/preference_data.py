"""What a recipe of preferences learns from: the pairs and votes of its file, or those of the task's own samples."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from harness.data.leakage.preferences import preference_leakage
from harness.data.preferences import Preferred, Voted, columns_checks, read_pairs, read_votes
from harness.errors import InvalidData
from harness.types.protocols import LearnsPairs, LearnsVotes, Prompter, Recipe, Task
from harness.types.samples import Check, Messages, Pair, Sample, Split, Vote

# Share of a file's prompts that are held out of training, for the dev loss and a reward model's accuracy.
_HELD_OUT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferencePairs:
    """The preferences of a step, of training and held out, and the check on where their prompts come from."""

    pairs: tuple[Pair, ...] = ()
    dev_pairs: tuple[Pair, ...] = ()
    votes: tuple[Vote, ...] = ()
    dev_votes: tuple[Vote, ...] = ()
    checks: tuple[Check, ...] = ()


def taught(
    task: Task, recipe: Recipe, prompter: Prompter, train: Sequence[Sample], dev: Sequence[Sample]
) -> PreferencePairs:
    """Return what `recipe` learns from; nothing if it learns from no preferences.

    Args:
        train, dev: The task's samples that the step may see.

    Raises:
        InvalidData: If the recipe's file cannot be read.
    """
    if hasattr(recipe, "pairs"):
        return PreferencePairs(
            pairs=pairs_of(task, recipe, prompter, Split.TRAIN, train),
            dev_pairs=pairs_of(task, recipe, prompter, Split.DEV, dev),
            checks=_leakage(task, recipe.pairs, read_pairs(recipe.pairs) if recipe.pairs else ()),
        )
    if hasattr(recipe, "votes"):
        return PreferencePairs(
            votes=votes_of(task, recipe, prompter, Split.TRAIN, train),
            dev_votes=votes_of(task, recipe, prompter, Split.DEV, dev),
            checks=_leakage(task, recipe.votes, read_votes(recipe.votes) if recipe.votes else ()),
        )
    return PreferencePairs()


def pairs_of(
    task: Task, recipe: Recipe, prompter: Prompter, split: Split, samples: Sequence[Sample]
) -> tuple[Pair, ...]:
    """Return the pairs that `recipe` learns from (TRAIN) or is measured on while it learns (DEV).

    Args:
        samples: The task's, of that split. Of a recipe's file every tenth prompt is held out for DEV, by hash, so
            that no prompt is in both; without a file the pairs are the samples' references and their rejected
            answers.

    Raises:
        InvalidData: If the file cannot be read.
    """
    file = recipe.pairs if isinstance(recipe, LearnsPairs) else None
    if file is None:
        return _own_pairs(prompter, samples)
    known = _by_id(task)
    return tuple(
        Pair(id=row.id, prompt=_prompt(row, known, prompter), chosen=row.chosen, rejected=row.rejected)
        for row in read_pairs(file)
        if _held_out(row) == (split is Split.DEV)
    )


def votes_of(
    task: Task, recipe: Recipe, prompter: Prompter, split: Split, samples: Sequence[Sample]
) -> tuple[Vote, ...]:
    """Return the votes that `recipe` learns from (TRAIN) or is measured on while it learns (DEV), as `pairs_of` does.

    Without a file, references are good answers and rejected ones bad.
    """
    file = recipe.votes if isinstance(recipe, LearnsVotes) else None
    if file is not None:
        known = _by_id(task)
        return tuple(
            Vote(id=row.id, prompt=_prompt(row, known, prompter), answer=row.answer, good=row.good)
            for row in read_votes(file)
            if _held_out(row) == (split is Split.DEV)
        )
    pairs = _own_pairs(prompter, samples)
    return tuple(
        vote
        for pair in pairs
        for vote in (
            Vote(id=f"{pair.id} chosen", prompt=pair.prompt, answer=pair.chosen, good=True),
            Vote(id=f"{pair.id} rejected", prompt=pair.prompt, answer=pair.rejected, good=False),
        )
    )


def _own_pairs(prompter: Prompter, samples: Sequence[Sample]) -> tuple[Pair, ...]:
    return tuple(
        Pair(id=sample.id, prompt=prompter(sample), chosen=sample.reference, rejected=sample.rejected)
        for sample in samples
        if sample.rejected is not None
    )


def _by_id(task: Task) -> dict[str, Sample]:
    return {sample.id: sample for split in Split for sample in task.samples(split)}


def _prompt(row: Preferred | Voted, known: dict[str, Sample], prompter: Prompter) -> Messages:
    """Return a row's prompt as it will be served.

    A conversation is taken as it is. A text is a question of the task's: put as the recipe puts the sample of that id
    and input, else as it puts a new one.
    """
    if row.messages:
        return row.messages
    sample = known.get(row.id.removesuffix(" chosen").removesuffix(" rejected"))
    if sample is None or sample.input != row.text:
        sample = Sample(id=row.id, input=row.text, reference="")
    try:
        return prompter(sample)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InvalidData(
            f"{row.where}: the task cannot put the question {row.text[:60]!r} ({type(error).__name__}: {error}); give "
            "the prompt as a conversation, a list of turns with 'role' and 'content'"
        ) from error


def _held_out(row: Preferred | Voted) -> bool:
    """Tell whether a row's prompt is among those held out."""
    digest = hashlib.sha256(row.text.encode()).digest()
    return int.from_bytes(digest[:8], "big") < _HELD_OUT * 2**64


def _leakage(task: Task, file: str | None, rows: Sequence[Preferred | Voted]) -> tuple[Check, ...]:
    if file is None:
        return ()
    dev, holdout = task.samples(Split.DEV), task.samples(Split.HOLDOUT)
    return (preference_leakage(rows, dev=dev, holdout=holdout, file=file), *columns_checks(file))
