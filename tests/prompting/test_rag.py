import dataclasses
import json
import subprocess
import sys

import pytest

from harness.errors import InvalidExperiment
from harness.fingerprint import fingerprint
from harness.prompting import RAG
from harness.types.protocols import Bindable, Strategy
from harness.types.samples import Message, Passage, Sample, Split


def test_passages_come_best_first_before_the_question(english):
    strategy = RAG(passages=2)
    assert isinstance(strategy, Strategy)
    assert isinstance(strategy, Bindable)
    assert strategy.messages(english, english.samples(Split.DEV)[0]) == (
        Message("system", "Answer with the action."),
        Message(
            "user",
            "These may help:\n\n"
            "raise the living room blinds -> blinds up\n"
            "lower the living room blinds -> blinds down\n\n"
            "Request: raise the office blinds",
        ),
    )


@pytest.mark.parametrize("retriever", ["dense", "hybrid"])
def test_vectors_find_what_shares_no_word(english, retriever):
    asked = dataclasses.replace(english.samples(Split.DEV)[0], input="make radiator warmer")
    (_, user) = RAG(passages=1, retriever=retriever).messages(english, asked)
    assert "set the heating to twenty degrees -> heat 20" in user.content


def test_passages_are_found_in_chinese(chinese):
    (_, user) = RAG(passages=1).messages(chinese, chinese.samples(Split.HOLDOUT)[0])
    assert user.content == "These may help:\n\n打开厨房的灯 -> light on\n\nRequest: 请打开厨房灯"


@pytest.mark.parametrize("retriever", ["bm25", "dense", "hybrid"])
def test_dev_holdout_and_the_sample_itself_are_never_retrieved(english, retriever):
    prompter = RAG(passages=50, retriever=retriever).bind(english)
    for split in Split:
        for sample in english.samples(split):
            brought = prompter(sample)[-1].content.rpartition("Request: ")[0]
            assert "office" not in brought
            assert "hall" not in brought
            assert sample.input not in brought


def test_a_training_sample_does_not_see_its_group_as_the_holdout_does_not(english):
    raise_blinds = english.samples(Split.TRAIN)[5]
    assert "blinds down" not in RAG(passages=50, retriever="dense").messages(english, raise_blinds)[-1].content


def test_a_document_of_the_samples_group_is_retrieved(english):
    manual = Passage(id="manual", text="blinds go up with the button", group="blinds")
    task = dataclasses.replace(english, extra=(manual,))
    assert "button" in RAG(passages=1).messages(task, english.samples(Split.TRAIN)[5])[-1].content


def test_with_nothing_found_the_question_is_asked_as_it_is(english):
    strange = dataclasses.replace(english.samples(Split.DEV)[0], input="zzz")
    assert RAG().messages(english, strange) == english.prompt(strange)


def test_only_the_last_user_turn_is_wrapped():
    class Chat:
        name = "chat"

        def samples(self, split):
            return ()

        def prompt(self, sample):
            return (Message("user", "Hello {you}"), Message("assistant", "Hi"), Message("user", sample.input))

        def read(self, text):
            return text

        def corpus(self):
            return [Passage(id="1", text="line {passages}\nline two"), Passage(id="2", text="two {question}")]

    strategy = RAG(template="{question}\n---\n{passages} {{end}}", instruction="Use it.")
    assert strategy.messages(Chat(), Sample(id="s", input="two lines", reference="")) == (
        Message("system", "Use it."),
        Message("user", "Hello {you}"),
        Message("assistant", "Hi"),
        Message("user", "two lines\n---\ntwo {question}\n\nline {passages}\nline two {end}"),
    )


def test_passages_may_come_from_a_folder(english, tmp_path):
    (tmp_path / "manual.md").write_text("# Blinds\n\nThe office blinds jam.", encoding="utf-8")
    (_, user) = RAG(folder=tmp_path).messages(english, english.samples(Split.DEV)[0])
    assert user.content == "These may help:\n\n# Blinds\n\nThe office blinds jam.\n\nRequest: raise the office blinds"


def test_a_task_without_corpus_is_refused_with_the_way_out(english):
    class NoCorpus:
        name = "no corpus"
        samples, prompt, read = english.samples, english.prompt, english.read

    for ask in (RAG().bind, RAG().reads):
        with pytest.raises(InvalidExperiment, match=r"'no corpus' has no corpus\(\).*RAG\(folder="):
            ask(NoCorpus())


def test_a_corpus_of_locked_passages_only_is_refused(english):
    task = dataclasses.replace(english, rows={**english.rows, Split.TRAIN: ()})
    with pytest.raises(InvalidExperiment, match="no passage that may be retrieved"):
        RAG().bind(task)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"passages": 0}, "at least 1"),
        ({"retriever": "splade"}, "'bm25', 'dense', 'hybrid'"),
        ({"template": "{question}"}, r"needs \{passages\} and \{question\}, each once, and has \{question\}"),
        ({"template": "{passages} {question} {question}"}, "each once"),
        ({"template": "{passages} {question} {other}"}, r"\{other\}"),
        ({"template": "{passages.__class__} {question}"}, "__class__"),
        ({"template": "{passages!r} {question}"}, "needs"),
        ({"template": '{passages} {question} {"a": 1}'}, "literal brace twice"),
        ({"template": "{passages} {question} }"}, "literal brace twice"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused(fields, message):
    with pytest.raises(InvalidExperiment, match=message):
        RAG(**fields)


def test_the_name_says_how_much_is_brought_and_how():
    assert [RAG().name, RAG(4, "dense").name, RAG(retriever="hybrid", model="a/big").name, RAG(label="docs").name] == [
        "rag-8 bm25",
        "rag-4 dense",
        "rag-8 hybrid @ big",
        "docs",
    ]


def test_the_key_follows_the_passages_that_may_be_retrieved(english, tmp_path):
    def key(strategy, task=english):
        return fingerprint(strategy.reads(task))

    assert key(RAG()) == key(RAG(model="other", label="other"))
    locked = dataclasses.replace(english.rows[Split.HOLDOUT][0], reference="secret")
    assert key(RAG()) == key(RAG(), dataclasses.replace(english, rows={**english.rows, Split.HOLDOUT: (locked,)}))
    more = dataclasses.replace(english, extra=(Passage(id="x", text="more"),))
    assert len({key(RAG()), key(RAG(passages=2)), key(RAG(retriever="dense")), key(RAG(), more)}) == 4


def test_the_key_follows_a_folders_texts_and_not_its_place(english, tmp_path):
    keys = []
    for name, text in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text.txt").write_text(text, encoding="utf-8")
        keys.append(fingerprint(RAG(folder=tmp_path / name).reads(english)))
    assert keys[0] == keys[1] != keys[2]


def test_declaring_and_keying_import_nothing_heavy(tmp_path):
    (tmp_path / "text.txt").write_text("text", encoding="utf-8")
    program = (
        "import json, sys\n"
        "from harness.prompting import RAG, FewShot, ZeroShot\n"
        f"RAG(retriever='hybrid', folder={str(tmp_path)!r}).reads(None)\n"
        "heavy = {'bm25s', 'scipy', 'tokenizers', 'safetensors', 'torch', 'transformers'}\n"
        "print(json.dumps(sorted(heavy & set(sys.modules))))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
