from collections.abc import Callable
from typing import Any

import pytest
from transformers import DataCollatorForLanguageModeling as PlainCollator
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from harness.inference.models.loading import load_tokenizer
from harness.recipes import SFT
from harness.training.rows import IGNORED, Collated, TokenizedRow, check_parity, collated_rows, make_rows
from harness.types.jobs import TuneJob
from harness.types.models import Model
from harness.types.samples import Example, Message


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
        "answer partly masked": Collated(row.ids, (IGNORED,) * (len(row.ids) - 1) + row.labels[-1:]),
        "prompt learned": Collated(row.ids, row.ids),
        "other prompt": Collated((*row.ids[:2], 9, *row.ids[3:]), row.labels),
        "other answer": Collated((*row.ids[:prompt], 9, *row.ids[prompt + 1 :]), row.labels),
    }[fault]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("double BOS", "double BOS"),
        ("missing end", "end token is missing"),
        ("masked end", "end token is not learned"),
        ("truncated", "truncated"),
        ("masked", "whole row is masked"),
        ("prompt learned", "the loss counts"),
        ("other prompt", "differs from the served one at token 3"),
        ("answer partly masked", "the answer is masked: the loss counts 1 of its"),
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


CONVERSATION = (Message("system", "Answer with one word."), Message("user", "red or blue?"))
EXAMPLE = Example(id="t", prompt=CONVERSATION, answer="blue is right")


def planted(fault: str, tokenizer: Any) -> TokenizedRow:
    """Return a row as a faulty pipeline makes it, with the tokenizer's own calls."""

    def text(**options: Any) -> str:
        turns = [{"role": message.role, "content": message.content} for message in CONVERSATION]
        return str(tokenizer.apply_chat_template(turns, tokenize=False, **options))

    def ids(content: str) -> tuple[int, ...]:
        return tuple(tokenizer(content, add_special_tokens=False)["input_ids"])

    served, answer = text(add_generation_prompt=True), (*ids(EXAMPLE.answer), tokenizer.eos_token_id)
    prompts = {
        "double BOS": (tokenizer.bos_token_id, *ids(served)),
        "no BOS": ids(served)[1:],
        "no generation prompt": ids(text(add_generation_prompt=False)),
        "bypassed template": ids("\n\n".join(message.content for message in CONVERSATION)),
        "question alone": ids(CONVERSATION[-1].content),
        "no system prompt": ids(served.partition("<|im_end|>\n")[2]),
        "markers spelt out": (
            *(token for piece in ("<|im_", "start|>") for token in ids(piece)),
            *ids(served)[1:],
        ),
    }
    answers = {"truncated": answer[:-2], "no end": answer[:-1]}
    return TokenizedRow(example=EXAMPLE, prompt=prompts.get(fault, ids(served)), answer=answers.get(fault, answer))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("none", None),
        ("double BOS", "the prompt begins with a double BOS"),
        ("no BOS", "the prompt lacks its BOS"),
        ("no generation prompt", "the generation prompt is missing"),
        ("bypassed template", "the chat template is bypassed"),
        ("question alone", "the chat template is bypassed"),
        ("no system prompt", "the system prompt is dropped"),
        ("markers spelt out", "special tokens are spelt out"),
        ("truncated", "the answer is truncated to"),
        ("no end", "the end token is missing"),
    ],
)
def test_a_pipeline_that_renders_wrongly_is_named(tiny: Model, fault: str, said: str | None) -> None:
    tokenizer = load_tokenizer(tiny)
    collator = DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id)

    collated = list(collated_rows([planted(fault, tokenizer)], collator, batch_size=1))
    check = check_parity(collated, [EXAMPLE], tokenizer)

    assert check.status == ("ok" if said is None else "invalid")
    assert [item["fault"].startswith(said) for item in check.items] == ([] if said is None else [True])
    assert said is None or said in check.detail


def test_a_collator_that_masks_padding_masks_the_end_token_and_is_named(tiny: Model) -> None:
    tokenizer = load_tokenizer(tiny)  # its padding token is its end token
    plain = PlainCollator(tokenizer, mlm=False)  # its labels are all tokens but padding

    def collator(features: list[dict[str, list[int]]]) -> Any:
        batch = plain([{"input_ids": row["input_ids"]} for row in features])
        prompt = sum(label == IGNORED for label in features[0]["labels"])
        batch["labels"][:, :prompt] = IGNORED
        return batch

    check = check_parity(
        list(collated_rows([planted("none", tokenizer)], collator, batch_size=1)), [EXAMPLE], tokenizer
    )

    assert check.status == "invalid"
    assert check.items[0]["fault"] == "the end token is not learned: the tuned model would never stop"


def test_a_prompt_without_a_template_is_compared_token_by_token(tiny: Model) -> None:
    tokenizer = load_tokenizer(tiny)
    tokenizer.chat_template = None
    row = make_rows(tokenizer, [EXAMPLE])[0]

    check = check_parity(
        [Collated((*row.prompt[:3], 9, *row.prompt[4:], *row.answer), row.answer)], [EXAMPLE], tokenizer
    )

    assert "differs from the served one at token 4 of" in check.detail
