"""Completions drawn from the network in training, and what it thinks of their tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig

from harness.inference.models.loading import side_by_side
from harness.inference.models.rendering import end_id
from harness.recipes import Reinforced
from harness.training.config import Precision
from harness.training.rl.rewards import Completed
from harness.training.rows import TokenizedRow
from harness.types.protocols import Task, answer_tokens
from harness.types.samples import Check

# Where neither the recipe nor the task says how long an answer may be.
# Rows that grow at once.
_AT_ONCE = 64


@dataclass(frozen=True)
class Drawing:
    """How completions are drawn. ends: tokens that end one, those at which a served answer ends. most: new tokens."""

    tokenizer: Any
    precision: Precision
    ends: tuple[int, ...]
    most: int
    temperature: float
    top_p: float

    @property
    def pad(self) -> int:
        return self.ends[0] if self.tokenizer.pad_token_id is None else int(self.tokenizer.pad_token_id)

    def read(self, tokens: Sequence[int]) -> Completed:
        """Return a completion as serving would read it. tokens: up to its end token."""
        ended = bool(tokens) and tokens[-1] in self.ends
        kept = list(tokens[:-1] if ended else tokens)
        text = self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Completed(text=str(text), tokens=tuple(tokens), cut=not ended)


def drawing(recipe: Reinforced, task: Task | None, tokenizer: Any, network: Any, precision: Precision) -> Drawing:
    """Return how `recipe` draws completions from `network`.

    A completion ends at the token that ends a turn in the chat template, and at those that the model's own files name:
    by the tokenizer's EOS token alone, a model whose template ends turns otherwise would never stop.
    """
    configured = network.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    found = [end_id(tokenizer), *listed, tokenizer.eos_token_id]
    return Drawing(
        tokenizer=tokenizer,
        precision=precision,
        ends=tuple(dict.fromkeys(int(token) for token in found if token is not None)),
        most=recipe.max_tokens or answer_tokens(task),
        temperature=recipe.temperature,
        top_p=recipe.top_p,
    )


def draw_completions(
    network: Any, prompts: Sequence[Sequence[int]], how: Drawing, *, greedy: bool = False
) -> list[tuple[int, ...]]:
    """Return the tokens of a completion to each prompt, its end token included.

    Dropout is off: what is drawn is what would be served. Draws come from torch's random state.
    """
    found: list[tuple[int, ...]] = []
    training = network.training
    network.eval()
    try:
        with torch.no_grad(), how.precision.computing():
            for start in range(0, len(prompts), _AT_ONCE):
                ids, mask = side_by_side(prompts[start : start + _AT_ONCE], how.pad, left=True)
                device = how.precision.device
                grown = network.generate(
                    input_ids=ids.to(device),
                    attention_mask=mask.to(device),
                    generation_config=_generation(how, greedy=greedy),
                )
                found += [_ended(row, how.ends) for row in grown[:, ids.shape[1] :].tolist()]
    finally:
        network.train(training)
    return found


@dataclass(frozen=True)
class ThoughtTokens:
    """What a network thinks of answers, token by token, (rows, answer). states: (rows, answer, width), if asked for.

    states are the last ones before each token, from which it was predicted.
    """

    logprobs: torch.Tensor
    entropy: torch.Tensor
    states: torch.Tensor | None = None


def think(
    network: Any, rows: tuple[torch.Tensor, torch.Tensor], *, answer: int, temperature: float, states: bool = False
) -> ThoughtTokens:
    """Return what `network` thinks of the last `answer` tokens of each row, at the temperature they were drawn with.

    Args:
        rows: Ids and mask, (rows, time), padded on the left before the prompts and on the right after the answers.
            Places are counted without padding, as they are when a prompt is served; TRL leaves it in them.
    """
    ids, mask = rows
    output = network(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(dim=-1) - 1).clamp(min=0),
        use_cache=False,
        logits_to_keep=answer + 1,
        output_hidden_states=states,
    )
    chances = (output.logits[:, -answer - 1 : -1].float() / temperature).log_softmax(dim=-1)
    with torch.no_grad():
        entropy = -(chances.exp() * chances).sum(dim=-1)
    return ThoughtTokens(
        logprobs=chances.gather(-1, ids[:, -answer:, None]).squeeze(-1),
        entropy=entropy,
        states=output.hidden_states[-1][:, -answer - 1 : -1].float() if states else None,
    )


def with_room(
    rows: Sequence[TokenizedRow], *, most: int, longest: int | None, kind: str
) -> tuple[list[TokenizedRow], Check]:
    """Return the rows whose prompt leaves room for `most` new tokens, and the check that counts the others."""
    name = f"{kind} prompts that fit"
    kept = [row for row in rows if longest is None or len(row.prompt) + most <= longest]
    left_out = [row.example.id for row in rows if longest is not None and len(row.prompt) + most > longest]
    if not left_out:
        return kept, Check(
            name=name, status="ok", detail=f"all {len(rows):,} {kind} prompts leave room for {most} tokens"
        )
    detail = (
        f"{len(left_out):,} of {len(rows):,} {kind} prompts leave no room for an answer of {most} tokens within "
        f"{longest} and were left out; lower max_tokens, or shorten the prompt"
    )
    return kept, Check(name=name, status="warning", detail=detail, items=tuple(left_out[:20]))


def _generation(how: Drawing, *, greedy: bool) -> GenerationConfig:
    """Return the whole configuration: what is left out, transformers takes from the model's files."""
    drawn = {} if greedy else {"temperature": how.temperature, "top_p": how.top_p, "top_k": 0}
    return GenerationConfig(
        max_new_tokens=how.most,
        do_sample=not greedy,
        eos_token_id=list(how.ends),
        pad_token_id=how.pad,
        repetition_penalty=1.0,
        disable_compile=True,
        **drawn,
    )


def _ended(row: Sequence[int], ends: Sequence[int]) -> tuple[int, ...]:
    """Return the tokens up to the first that ends an answer; what follows is padding."""
    for place, token in enumerate(row):
        if token in ends:
            return tuple(row[: place + 1])
    return tuple(row)
