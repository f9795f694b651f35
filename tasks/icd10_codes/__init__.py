"""ICD-10-CM codes: a diagnosis in other words than the book's -> its code."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from harness.types.samples import Message, Messages, Passage, Sample, Split
from tasks.stored_rows import Row, package_folder, package_version, source_of, stored_rows

_JOB = "Answer with the ICD-10-CM code of the diagnosis and nothing else."
_WORDS_READ = 8
_CODE = re.compile(r"\b([A-TV-Z][0-9][0-9A-Z](?:\.[0-9A-Z]{1,4})?)(?![0-9A-Z])", re.IGNORECASE)


@dataclass(frozen=True)
class Icd10Codes:
    """A look-up: the corpus is the code book, the questions are wordings that the book does not print.

    train_size: how many pairs the fine-tuner gets: the book first, then other wordings of codes that nobody asks for.
    The value of an answer is the first code among its first words, in upper case.
    """

    train_size: int = 1000

    name: ClassVar[str] = "icd10_codes"
    # Room for the words that are read: an untuned model may repeat the diagnosis before the code.
    answer_tokens: ClassVar[int] = 20
    stop: ClassVar[tuple[str, ...]] = ("\n",)

    def samples(self, split: Split) -> Sequence[Sample]:
        rows = [row for row in _rows() if row["kind"] == split.value]
        if split is Split.TRAIN:
            rows = rows[: self.train_size]
        return tuple(
            Sample(
                id=f"{split.value}-{place:04d}",
                input=str(row["text"]),
                reference=str(row["code"]),
                group=str(row["group"]),
                tags={"chapter": str(row["code"])[:1]},
            )
            for place, row in enumerate(rows)
        )

    def prompt(self, sample: Sample) -> Messages:
        return Message("system", _JOB), Message("user", sample.input)

    def read(self, text: str) -> object | None:
        """Return the first code among the first words in upper case, else the first word: an answer too, a wrong one.

        Of an untuned model 3 to 4 answers in 64 go on about the diagnosis without end; what follows changes nothing.
        """
        words = text.split()[:_WORDS_READ]
        found = _CODE.search(" ".join(words))
        return found.group(1).upper() if found else next(iter(words), None)

    def corpus(self) -> Sequence[Passage]:
        """Return the code book: one passage a code, with its official description."""
        book = (row for row in _rows() if row["kind"] == "book")
        return tuple(Passage(id=str(row["code"]), text=f"{row['code']}: {row['text']}") for row in book)


@lru_cache(maxsize=1)
def _rows() -> tuple[Row, ...]:
    package = package_folder("simple_icd_10_cm")

    def build() -> list[Row]:
        from tasks.icd10_codes.build import build_rows

        return list(build_rows(package))

    made_from = [package_version("simple-icd-10-cm"), source_of("tasks.icd10_codes.build")]
    return tuple(stored_rows("icd10_codes", made_from=made_from, build=build))
