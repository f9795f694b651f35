"""Grammar + made-up homes -> request sentences with intent and slots, split by sentence template."""

import itertools
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hassil.expression import Sentence
from hassil.intents import IntentData, Intents, SlotList, TextSlotList
from hassil.util import normalize_whitespace

from harness.types.samples import Split
from tasks.home_commands.grammar import Walk
from tasks.home_commands.homes import HOMES, Home
from tasks.home_commands.schema import GRAMMAR_FILES, INTENTS
from tasks.stored_rows import Row

# The Chinese grammar has two intents with too few templates for a holdout, so its others give more.
SAMPLES_PER_INTENT = {
    "en": {Split.TRAIN: 50, Split.DEV: 6, Split.HOLDOUT: 17},
    "zh": {Split.TRAIN: 50, Split.DEV: 7, Split.HOLDOUT: 20},
}
# Two requests of one intent this alike (Jaccard of character 4-grams, any digit read as 0) may not be in two splits.
MOST_ALIKE = 0.6
# Templates that still bring nothing new after this many draws have said what they can say.
_DRAWS_PER_SAMPLE = 20
# Who gets the templates whose slots TRAIN has shown, in turn.
_DEALT = (Split.HOLDOUT, Split.TRAIN, Split.TRAIN, Split.HOLDOUT, Split.TRAIN, Split.DEV, Split.TRAIN)
_OPEN_SLOTS = frozenset({"area", "floor", "name"})

Grams = frozenset[str]


@dataclass(frozen=True)
class Template:
    """One sentence template and the block of rules it stands in; `group` names its text within the intent."""

    intent: str
    group: str
    sentence: Sentence
    block: IntentData


@dataclass
class _Taken:
    """What was drawn so far: texts are new everywhere, and not alike across splits."""

    texts: set[str] = field(default_factory=set)
    grams: dict[tuple[str, Split], list[Grams]] = field(default_factory=dict)

    def accepts(self, text: str, intent: str, split: Split) -> bool:
        if text in self.texts:
            return False
        own = _grams(text)
        others = (grams for side in Split if side is not split for grams in self.grams.get((intent, side), ()))
        if any(alike(own, other) > MOST_ALIKE for other in others):
            return False
        self.texts.add(text)
        self.grams.setdefault((intent, split), []).append(own)
        return True


def build_rows(language: str, package: Path) -> Iterator[Row]:
    """Yield one row a sample: split, text, intent, slots, group.

    Deterministic for one version of the grammar: each draw is seeded by the name of what is drawn. The intents take
    turns, so that any first part of a split has all of them.
    """
    grammar = load_grammar(language, package)
    taken = _Taken()
    rows: dict[str, list[Row]] = {intent: [] for intent in INTENTS}
    for intent in INTENTS:
        for split, templates in split_templates(usable_templates(grammar, intent)).items():
            draw = random.Random(f"{language} {intent} {split.value}")  # noqa: S311
            walks = _walks(grammar, templates, home=HOMES[language], draw=draw)
            wanted = SAMPLES_PER_INTENT[language][split]
            rows[intent] += _new_rows(walks, split, wanted=wanted, taken=taken)
    for turn in itertools.zip_longest(*rows.values()):
        yield from (row for row in turn if row)


def load_grammar(language: str, package: Path) -> Intents:
    text = (package / "data" / GRAMMAR_FILES[language]).read_text(encoding="utf-8")
    return Intents.from_dict(json.loads(text))


def usable_templates(grammar: Intents, intent: str) -> list[Template]:
    """Return the templates whose request has one full answer; the same text in several blocks is one group."""
    groups: dict[str, str] = {}
    found = []
    for block in grammar.intents[intent].data:
        # These blocks take the room from where the speaker stands, which the request does not say.
        if "area" in block.requires_context:
            continue
        for sentence in block.sentences:
            lists = set(sentence.expression.list_names(grammar.expansion_rules))
            if not lists & block.wildcard_list_names:
                group = groups.setdefault(sentence.text, f"{intent}/{len(groups):02d}")
                found.append(Template(intent, group, sentence, block))
    return found


def split_templates(templates: list[Template]) -> dict[Split, list[Template]]:
    """Return each split's templates: the first of every combination of slots is TRAIN's, the others are dealt out.

    So the holdout asks in new words for what TRAIN has shown once, never for slots nobody was taught.
    """
    by_group: dict[str, list[Template]] = {}
    for template in templates:
        by_group.setdefault(template.group, []).append(template)
    groups = sorted(by_group)
    random.Random(templates[0].intent).shuffle(groups)  # noqa: S311
    shapes: set[frozenset[str]] = set()
    parts: dict[Split, list[Template]] = {split: [] for split in Split}
    dealt = 0
    for group in groups:
        shape = frozenset(name for template in by_group[group] for name in _slot_names(template))
        split = Split.TRAIN
        if shape in shapes:
            split = _DEALT[dealt % len(_DEALT)]
            dealt += 1
        shapes.add(shape)
        parts[split] += by_group[group]
    return parts


def alike(one: Grams, other: Grams) -> float:
    """Return the Jaccard similarity of two sets of character 4-grams."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared) if shared else 0.0


def _grams(text: str) -> Grams:
    plain = f" {re.sub(r'[0-9]', '0', text)} "
    return frozenset(plain[place : place + 4] for place in range(max(len(plain) - 3, 1)))


def _slot_names(template: Template) -> set[str]:
    return {reference.slot_name for reference in template.sentence.expression.list_references()} | set(
        template.block.slots
    )


def _walks(
    grammar: Intents, templates: list[Template], *, home: Home, draw: random.Random
) -> Iterator[tuple[Template, Walk]]:
    """Yield a fresh walk through each template in turn, for ever; nothing where there is no template."""
    lists = {**grammar.slot_lists, **open_lists(home)}
    for template in itertools.cycle(templates):
        domains = template.block.requires_context.get("domain", ())
        yield (
            template,
            Walk(
                draw=draw,
                rules={**grammar.expansion_rules, **template.block.expansion_rules},
                lists={**lists, **template.block.slot_lists},
                domains=frozenset([domains] if isinstance(domains, str) else domains),
            ),
        )


def _new_rows(walks: Iterator[tuple[Template, Walk]], split: Split, *, wanted: int, taken: _Taken) -> Iterator[Row]:
    """Yield up to `wanted` rows whose text `taken` accepts."""
    for template, walk in itertools.islice(walks, _DRAWS_PER_SAMPLE * wanted):
        text = normalize_whitespace(walk.text(template.sentence.expression)).strip()
        if wanted and taken.accepts(text, template.intent, split):
            slots = dict(template.block.slots) | walk.slots
            yield {
                "split": split.value,
                "text": text,
                "intent": template.intent,
                "slots": slots,
                "group": template.group,
            }
            wanted -= 1


def open_lists(home: Home) -> dict[str, SlotList]:
    """Return the lists that the grammar leaves to the household, in hassil's form."""
    devices = [(name, name, {"domain": domain}) for domain, names in home.devices.items() for name in names]
    return {
        "area": TextSlotList.from_strings(home.areas, name="area"),
        "floor": TextSlotList.from_strings(home.floors, name="floor"),
        "name": TextSlotList.from_tuples(devices, name="name"),
    }
