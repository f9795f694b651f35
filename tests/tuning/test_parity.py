from collections.abc import Callable

import pytest
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from harness.models import Model
from harness.protocols import TuneJob
from harness.recipes import SFT
from harness.tuning.parity import Collated, check_parity, collated_rows
from harness.tuning.rows import IGNORED, make_rows
from harness.weights.loading import load_tokenizer


def rows_of(job: Callable[..., TuneJob], tiny: Model) -> tuple[list[Collated], TuneJob, object]:
    tokenizer = load_tokenizer(tiny)
    made = job(SFT())
    rows = make_rows(tokenizer, made.train)
    collator = DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id)
    return list(collated_rows(rows, collator, batch_size=4)), made, tokenizer


def test_the_end_token_is_learned_although_it_is_the_padding_token(job, tiny: Model) -> None:
    collated, made, tokenizer = rows_of(job, tiny)

    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert {row.labels[-1] for row in collated} == {tokenizer.eos_token_id}
    assert check_parity(collated, made.train, tokenizer).status == "ok"


def tampered(row: Collated, fault: str, *, bos: int) -> Collated:
    prompt = sum(label == IGNORED for label in row.labels)
    return {
        "double BOS": Collated((bos, *row.ids), (IGNORED, *row.labels)),
        "missing end": Collated(row.ids[:-1], row.labels[:-1]),
        "masked end": Collated(row.ids, (*row.labels[:-1], IGNORED)),
        "truncated": Collated(row.ids[:-3], row.labels[:-3]),
        "masked": Collated(row.ids, (IGNORED,) * len(row.ids)),
        "prompt learned": Collated(row.ids, row.ids),
        "other prompt": Collated((*row.ids[:2], 9, *row.ids[3:]), row.labels),
        "other answer": Collated((*row.ids[:prompt], 9, *row.ids[prompt + 1 :]), row.labels),
    }[fault]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("double BOS", "double BOS"),
        ("missing end", "end token is not learned"),
        ("masked end", "end token is not learned"),
        ("truncated", "truncated"),
        ("masked", "whole row is masked"),
        ("prompt learned", "the loss counts"),
        ("other prompt", "differs from the served one at token 3"),
        ("other answer", "not the answer's"),
    ],
)
def test_each_planted_fault_is_named_with_its_row(job, tiny: Model, fault: str, said: str) -> None:
    collated, made, tokenizer = rows_of(job, tiny)
    collated[5] = tampered(collated[5], fault, bos=tokenizer.bos_token_id)

    check = check_parity(collated, made.train, tokenizer)

    assert check.status == "invalid"
    assert [item["id"] for item in check.items] == ["t5"]
    assert said in check.items[0]["fault"]
