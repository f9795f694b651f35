"""One random sentence of a hassil template, with the slots that it fills."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from hassil.expression import (
    Alternative,
    Expression,
    Group,
    ListReference,
    Permutation,
    RuleReference,
    Sentence,
    TextChunk,
)
from hassil.intents import RangeSlotList, SlotList, TextSlotList

SlotValue = str | int | float


@dataclass
class Walk:
    """A random path through one template; `slots` fills while text is drawn.

    domains: those that a device name may have here; empty for any.
    """

    draw: random.Random
    rules: Mapping[str, Sentence]
    lists: Mapping[str, SlotList]
    domains: frozenset[str]
    slots: dict[str, SlotValue] = field(default_factory=dict)

    def text(self, expression: Expression) -> str:
        match expression:
            case TextChunk():
                return str(expression.original_text)
            case RuleReference():
                return self.text(self.rules[expression.rule_name].expression)
            case ListReference():
                return self._value(expression)
            case Alternative():
                return self.text(self.draw.choice(expression.items))
            case Permutation():
                return " ".join(self.text(item) for item in self.draw.sample(expression.items, len(expression.items)))
            case Group():
                return "".join(self.text(item) for item in expression.items)
        raise TypeError(f"hassil gave a {type(expression).__name__}, which this walk does not know")

    def _value(self, reference: ListReference) -> str:
        values = self.lists[reference.list_name]
        if isinstance(values, RangeSlotList):
            number = self.draw.randrange(values.start, values.stop + 1, values.step)
            self.slots[reference.slot_name] = int(number * (values.multiplier or 1))
            return str(number)
        if not isinstance(values, TextSlotList):
            raise TypeError(f"list {reference.list_name} is open: give it values")
        value = self.draw.choice(
            [v for v in values.values if not self.domains or not v.context or v.context["domain"] in self.domains]
        )
        self.slots[reference.slot_name] = value.value_out
        return self.text(value.text_in)
