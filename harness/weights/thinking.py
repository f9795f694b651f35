"""What a model thought aloud, apart from what it answered: by the markers that chat templates put around thoughts."""

from typing import Any, NamedTuple

# Opening and closing marker of each family of models that thinks between markers.
MARKERS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("◁think▷", "◁/think▷"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
)


class Thought(NamedTuple):
    """reasoning: empty where nothing was thought aloud. text: the answer behind it."""

    reasoning: str
    text: str


def thought_apart(said: str, *, prompt: str | None = None) -> Thought:
    """Return the thoughts that `said` begins with, and the answer behind them.

    A thought that does not close is all thought, and the answer is empty: it was cut. Markers in the middle of an
    answer are its own.

    prompt: as rendered; its template may have opened the thought. None is not known, as of a server: then a closing
    marker without its opening one ends a thought.
    """
    for opening, closing in MARKERS:
        begun = said.lstrip()
        if begun.startswith(opening):
            return _closed(begun[len(opening) :], opening, closing)
        if _opened_before(said, opening, closing, prompt):
            return _closed(said, opening, closing)
    return Thought("", said)


def marker_tokens(tokenizer: Any) -> frozenset[int]:
    """Return the special tokens that markers are made of: decoding must not leave them out as it does others."""
    markers = "".join(marker for pair in MARKERS for marker in pair)
    return frozenset(
        int(token)
        for token, entry in tokenizer.added_tokens_decoder.items()
        if entry.special and len(entry.content) > 1 and entry.content in markers
    )


def _closed(inside: str, opening: str, closing: str) -> Thought:
    thoughts: list[str] = []
    while True:
        thought, _, text = inside.partition(closing)
        thoughts.append(thought.strip())
        text = text.lstrip()
        if not text.startswith(opening):
            return Thought("\n\n".join(filter(None, thoughts)), text)
        inside = text[len(opening) :]


def _opened_before(said: str, opening: str, closing: str, prompt: str | None) -> bool:
    if said.lstrip().startswith(closing):
        return True
    if prompt is not None:
        return prompt.rstrip().endswith(opening)
    before, closed, _ = said.partition(closing)
    return bool(closed) and opening not in before
