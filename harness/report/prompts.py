"""One example of each system's prompt, as really rendered, with its token count."""

from dataclasses import dataclass

from harness.report.reading import DEV, HOLDOUT, main_stages
from harness.store.rows import AnswerRow, Evidence, SystemRow

_MOST_CHARACTERS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptExample:
    """tokens: of this prompt. shortest, longest: tokens over all of the system's prompts on the split."""

    system: str
    role: str
    description: str
    split: str
    sample_id: str
    prompt: str
    answer: str
    tokens: int
    tokens_out: int
    shortest: int
    longest: int
    cut_at: int | None


def prompt_examples(evidence: Evidence) -> tuple[PromptExample, ...]:
    """Return one example a system that answered: on the holdout where it was opened, else on DEV."""
    positions = {(row.split, row.sample_id): row.position for row in evidence.samples}
    found = (_example(evidence, system, positions) for system in evidence.systems)
    return tuple(example for example in found if example is not None)


def _example(evidence: Evidence, system: SystemRow, positions: dict[tuple[str, str], int]) -> PromptExample | None:
    for split in (HOLDOUT, DEV):
        answers = _answers(evidence, system.system, split)
        if not answers:
            continue
        first = min(answers, key=lambda answer: (positions.get((split, answer.sample_id), 0), answer.repeat))
        return PromptExample(
            system=system.system,
            role=system.role,
            description=system.description,
            split=split,
            sample_id=first.sample_id,
            prompt=first.prompt[:_MOST_CHARACTERS],
            answer=first.text[:_MOST_CHARACTERS],
            tokens=first.tokens_in,
            tokens_out=first.tokens_out,
            shortest=min(answer.tokens_in for answer in answers),
            longest=max(answer.tokens_in for answer in answers),
            cut_at=_MOST_CHARACTERS if len(first.prompt) > _MOST_CHARACTERS else None,
        )
    return None


def _answers(evidence: Evidence, system: str, split: str) -> list[AnswerRow]:
    keys = {row.stage_key for row in main_stages(evidence) if (row.system, row.split) == (system, split)}
    return [answer for answer in evidence.answers if answer.stage_key in keys]
