"""Retrieval: passages near the question, put into the question.

A folder of text files as passages.
"""

import hashlib
import io
import json
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from harness.errors import InvalidData, InvalidExperiment
from harness.prompting.messages import (
    Several,
    check_choice,
    check_count,
    check_text,
    single,
    system_name,
    with_instruction,
    with_last_user,
)
from harness.prompting.retrieval import (
    RETRIEVERS,
    RetrieverName,
    Retrieving,
    build_retriever,
    nearest,
    retriever_version,
    without,
)
from harness.types.files import is_lfs_pointer
from harness.types.models import AnyModel, as_model
from harness.types.protocols import HasCorpus, Prompter, Task
from harness.types.samples import Messages, Passage, Sample, Split

SUFFIXES = (".txt", ".md")
CHARACTERS = 1000

_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")


def read_passages(folder: Path, *, characters: int = CHARACTERS) -> list[Passage]:
    """Return the texts of a folder and the folders in it, cut at paragraphs.

    Ids are "path/in/folder.md#1", counted from 1; files come in the order of their paths.

    Args:
        folder: What is read.
        characters: Most of a passage; short paragraphs share one, a longer paragraph is cut after a sentence, else
            between words.

    Raises:
        InvalidExperiment: If the folder is missing or holds no text.
        InvalidData: If a file is not UTF-8, cannot be read, or is a Git LFS pointer.
    """
    if not folder.is_dir():
        raise InvalidExperiment(
            f"RAG(folder={str(folder)!r}): there is no such folder; give one that holds .txt or .md"
        )
    files = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    passages = [
        Passage(id=f"{path.relative_to(folder).as_posix()}#{number}", text=text)
        for path in sorted(files)
        for number, text in enumerate(chunks(_read(path), characters), start=1)
    ]
    if not passages:
        raise InvalidExperiment(f"RAG(folder={str(folder)!r}): no text in it; put .txt or .md files there")
    return passages


def chunks(text: str, characters: int) -> Iterator[str]:
    """Yield `text` in pieces of at most `characters`, whole paragraphs if they fit."""
    held = ""
    for paragraph in _PARAGRAPH.split(text.strip()):
        for piece in _pieces(paragraph, characters):
            if held and len(held) + 2 + len(piece) > characters:
                yield held
                held = ""
            held = f"{held}\n\n{piece}" if held else piece
    if held:
        yield held


def _pieces(paragraph: str, characters: int) -> list[str]:
    """Cut a long paragraph after the last sentence in the second half of a piece, else between words, else anywhere."""
    if len(paragraph) <= characters:
        return [paragraph] if paragraph else []
    sentence = rf".{{{characters // 2},{characters}}}(?:(?<=[。！？])|(?<=[.!?])(?=\s)|$)"
    cut = re.compile(rf"{sentence}|.{{1,{characters}}}(?=\s|$)|.{{1,{characters}}}", re.DOTALL)
    return [piece.strip() for piece in cut.findall(paragraph) if piece.strip()]


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidData(f"{path}: cannot be read: {error.strerror}; check its permissions") from None
    if is_lfs_pointer(content):
        raise InvalidData(f"{path}: is a Git LFS pointer, and the text is not here; run git lfs pull in its folder")
    try:
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig").read()
    except UnicodeDecodeError as error:
        raise InvalidData(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error


TEMPLATE = "These may help:\n\n{passages}\n\n{question}"


@dataclass(frozen=True)
class RAG:
    """Put the passages nearest to a sample's input before its question, the best first.

    Passages made from dev or holdout samples are never retrieved; neither is one made from the sample itself, nor, for
    a training sample, one made from a sample of its group, since the holdout never meets its own group either.

    Args:
        passages: How many at most, 1 or more. If fewer share a word with the question there are fewer, and with none
            the question is asked as it is. Several numbers are tried on DEV, each a baseline of its own.
        retriever: "bm25" (words), "dense" (MiniLM vectors; English) or "hybrid" (both, by reciprocal rank).
        folder: Text files (.txt, .md) to retrieve from in place of `task.corpus()`.
        template: The last user message, with the fields {passages} and {question}.
        instruction: Replaces the task's system message, or adds one. Several are tried on DEV; None is the task's own.
        model: Answers in place of the experiment's model; a string means `Model(string)`.
        label: The system's name on pages and in tables, if two would otherwise be called the same.

    Raises:
        InvalidExperiment: If a field has an unknown value, or `template` lacks one of its fields.

    Examples:
        >>> RAG(passages=4, retriever="hybrid", folder="handbook/").name
        'rag-4 hybrid'
    """

    retrieves: ClassVar[bool] = True

    passages: Several[int] = 8
    retriever: RetrieverName = "bm25"
    folder: str | Path | None = field(default=None, metadata={"key": False})  # the texts are the key, not their place
    template: str = TEMPLATE
    instruction: Several[str | None] = None
    model: str | AnyModel | None = field(default=None, metadata={"key": False})
    label: str | None = field(default=None, metadata={"key": False}, kw_only=True)

    def __post_init__(self) -> None:
        check_count("RAG", "passages", self.passages)
        check_choice("RAG", "retriever", self.retriever, allowed=RETRIEVERS)
        check_text("RAG", "instruction", self.instruction)
        _check_template(self.template)
        if self.model is not None:
            object.__setattr__(self, "model", as_model(self.model))

    @property
    def name(self) -> str:
        return system_name(f"rag-{self.passages} {self.retriever}", label=self.label, model=self.model)

    def messages(self, task: Task, sample: Sample) -> Messages:
        """Return the conversation for one sample; `bind` once to ask for many."""
        return self.bind(task)(sample)

    def bind(self, task: Task) -> Prompter:
        """Index the passages once.

        Raises:
            InvalidExperiment: If there are none.
            MissingPackage: If the retriever's package is absent.
        """
        corpus = self._corpus(task)
        retriever = build_retriever(self.retriever, [passage.text for passage in corpus])
        own = without(_train_groups(task), [(passage.sample_id, passage.group) for passage in corpus])

        def find(sample: Sample) -> tuple[Messages, int]:
            asked = with_instruction(task.prompt(sample), single("RAG", "instruction", self.instruction))
            found = nearest(own(sample, retriever.scores(sample.input)), single("RAG", "passages", self.passages))
            if not len(found):
                return asked, 0
            texts = _joined([corpus[place].text for place in found])
            prompt = with_last_user(
                asked, lambda question: self.template.format(passages=texts, question=question), owner=self.name
            )
            return prompt, len(found)

        return Retrieving(find)

    def reads(self, task: Task) -> object:
        """Return, for a cache key, what the prompts are made from besides the samples' own prompts.

        A hash of the passages that may be retrieved; nothing is indexed.
        """
        rows = [[passage.id, passage.text, passage.sample_id, passage.group] for passage in self._corpus(task)]
        return self, retriever_version(self.retriever), hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def _corpus(self, task: Task) -> Sequence[Passage]:
        """Return the passages that may be retrieved: none that was made from a dev or holdout sample."""
        if self.folder is not None:
            return read_passages(Path(self.folder))
        if not isinstance(task, HasCorpus):
            raise InvalidExperiment(
                f"{self.name}: task {task.name!r} has no corpus() to retrieve from; "
                f"add one to the task, or give RAG(folder=...) a folder of .txt or .md files"
            )
        locked = {sample.id for split in (Split.DEV, Split.HOLDOUT) for sample in task.samples(split)}
        corpus = [passage for passage in task.corpus() if passage.sample_id not in locked]
        if not corpus:
            raise InvalidExperiment(
                f"{self.name}: task {task.name!r} has no passage that may be retrieved (those made from dev and "
                f"holdout samples are left out); let corpus() return passages of the training split or of documents"
            )
        return corpus


def _check_template(template: str) -> None:
    try:
        fields = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise InvalidExperiment(f"RAG(template=...): {error}; write a literal brace twice: {{{{ or }}}}") from error
    if sorted(fields, key=str) != [("passages", "", None), ("question", "", None)]:
        found = ", ".join(f"{{{name}}}" for name, *_ in fields) or "none"
        raise InvalidExperiment(
            f"RAG(template=...) needs {{passages}} and {{question}}, each once, and has {found}; "
            f"write a literal brace twice: {{{{ or }}}}"
        )


def _train_groups(task: Task) -> dict[str, str | None]:
    return {sample.id: sample.group for sample in task.samples(Split.TRAIN)}


def _joined(texts: Sequence[str]) -> str:
    """One a line; with a blank line between them if one has several lines itself."""
    return ("\n\n" if any("\n" in text for text in texts) else "\n").join(texts)
