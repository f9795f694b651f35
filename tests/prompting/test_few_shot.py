import dataclasses

import pytest

from harness.errors import InvalidExperiment
from harness.fingerprint import fingerprint
from harness.prompting import FewShot
from harness.types.protocols import Bindable, Strategy
from harness.types.samples import Message, Split


def shots_in(messages):
    """The (question, answer) pairs shown before the last question."""
    turns = [turn for turn in messages if turn.role != "system"][:-1]
    return [(question.content, answer.content) for question, answer in zip(turns[::2], turns[1::2], strict=True)]


def test_fixed_shots_come_first_to_last_after_the_system_message(english):
    strategy = FewShot(shots=2)
    assert isinstance(strategy, Strategy)
    assert isinstance(strategy, Bindable)
    assert strategy.messages(english, english.samples(Split.HOLDOUT)[0]) == (
        Message("system", "Answer with the action."),
        Message("user", "Request: turn on the kitchen light"),
        Message("assistant", "light on"),
        Message("user", "Request: switch the kitchen light on"),
        Message("assistant", "light on"),
        Message("user", "Request: turn on the hall light"),
    )


def test_an_instruction_replaces_the_system_message_once(english):
    messages = FewShot(shots=2, instruction="Be brief.").messages(english, english.samples(Split.DEV)[0])
    assert [turn.content for turn in messages if turn.role == "system"] == ["Be brief."]


def test_random_shots_are_one_draw_for_all_samples(english):
    prompter = FewShot(shots=3, select="random", seed=5).bind(english)
    dev, holdout = (prompter(english.samples(split)[0]) for split in (Split.DEV, Split.HOLDOUT))
    assert dev[:-1] == holdout[:-1]
    assert dev[:-1] == FewShot(shots=3, select="random", seed=5).bind(english)(english.samples(Split.DEV)[0])[:-1]
    draws = {
        FewShot(shots=3, select="random", seed=seed).messages(english, english.samples(Split.DEV)[0])
        for seed in range(10)
    }
    assert len(draws) > 1


def test_balanced_shots_show_every_label_before_any_twice(english):
    for seed in range(5):
        by_reference = FewShot(shots=5, select="balanced", seed=seed).bind(english)(english.samples(Split.DEV)[0])
        assert sorted(answer for _, answer in shots_in(by_reference)) == [
            "blinds down",
            "blinds up",
            "heat 20",
            "light off",
            "light on",
        ]
        by_verb = FewShot(shots=3, select="balanced", seed=seed, balance_by="verb")
        shown = shots_in(by_verb.messages(english, english.samples(Split.DEV)[0]))
        assert sorted(answer.split()[0] for _, answer in shown) == ["blinds", "heat", "light"]


def test_balancing_by_a_tag_that_a_sample_lacks_names_it(english):
    with pytest.raises(InvalidExperiment, match=r"sample 't\d' has no tag 'room' .* it has \['verb'\]"):
        FewShot(shots=2, select="balanced", balance_by="room").bind(english)


@pytest.mark.parametrize("retriever", ["bm25", "dense", "hybrid"])
def test_the_nearest_shot_comes_last(english, retriever):
    strategy = FewShot(shots=2, select="nearest", retriever=retriever)
    assert shots_in(strategy.messages(english, english.samples(Split.DEV)[0])) == [
        ("Request: lower the living room blinds", "blinds down"),
        ("Request: raise the living room blinds", "blinds up"),
    ]


def test_the_nearest_shot_is_found_in_chinese(chinese):
    strategy = FewShot(shots=1, select="nearest")
    assert [
        shots_in(strategy.messages(chinese, chinese.samples(split)[0])) for split in (Split.DEV, Split.HOLDOUT)
    ] == [[("Request: 放下客厅的百叶窗", "blinds down")], [("Request: 打开厨房的灯", "light on")]]


@pytest.mark.parametrize("select", ["fixed", "random", "balanced", "nearest"])
def test_no_sample_is_its_own_shot(english, select):
    prompter = FewShot(shots=4, select=select).bind(english)
    for sample in english.samples(Split.TRAIN):
        shown = shots_in(prompter(sample))
        assert len(set(shown)) == 4
        assert f"Request: {sample.input}" not in [question for question, _ in shown]


def test_a_training_sample_is_not_shown_its_siblings_while_others_are_left(english):
    switch_on = english.samples(Split.TRAIN)[1]
    shown = shots_in(FewShot(shots=1, select="nearest").messages(english, switch_on))
    assert shown != [("Request: turn on the kitchen light", "light on")]


def test_shots_that_share_no_word_are_filled_up_from_the_first(english):
    strange = dataclasses.replace(english.samples(Split.DEV)[0], input="zzz")
    assert len(shots_in(FewShot(shots=4, select="nearest").messages(english, strange))) == 4


@pytest.mark.parametrize("select", ["fixed", "random", "balanced", "nearest"])
def test_dev_and_holdout_are_never_shown(english, select):
    messages = FewShot(shots=6, select=select).messages(english, english.samples(Split.HOLDOUT)[0])
    shown = {question for question, _ in shots_in(messages)}
    assert shown == {f"Request: {sample.input}" for sample in english.samples(Split.TRAIN)}


def test_too_few_training_samples_are_named_with_the_way_out(english):
    strategy = FewShot(shots=7)
    for ask in (strategy.bind, strategy.reads):
        with pytest.raises(InvalidExperiment, match=r"'commands' has 6 training samples.*lower shots= or add"):
            ask(english)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shots": 0}, "at least 1"),
        ({"select": "best"}, "select is one of 'fixed', 'random', 'balanced', 'nearest'"),
        ({"retriever": "colbert"}, "retriever is one of"),
        ({"balance_by": "verb"}, 'only with select="balanced"'),
        ({"instruction": ""}, "leave instruction out"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused(fields, message):
    with pytest.raises(InvalidExperiment, match=message):
        FewShot(**fields)


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        (FewShot(), "8-shot"),
        (FewShot(4, "nearest"), "4-shot nearest"),
        (FewShot(4, "nearest", retriever="dense"), "4-shot nearest dense"),
        (FewShot(select="random", model="big"), "8-shot random @ big"),
        (FewShot(label="examples"), "examples"),
    ],
)
def test_the_name_says_how_shots_are_chosen(strategy, name):
    assert strategy.name == name


def changed(task, place, **fields):
    train = list(task.rows[Split.TRAIN])
    train[place] = dataclasses.replace(train[place], **fields)
    return dataclasses.replace(task, rows={**task.rows, Split.TRAIN: tuple(train)})


@pytest.mark.parametrize("select", ["fixed", "random", "balanced", "nearest"])
def test_the_key_changes_with_every_shot_that_may_be_shown(english, select):
    strategy = FewShot(shots=6, select=select)
    keys = [fingerprint(strategy.reads(english)), fingerprint(strategy.reads(english))]
    keys += [fingerprint(strategy.reads(changed(english, place, reference="changed"))) for place in range(6)]
    keys += [fingerprint(strategy.reads(dataclasses.replace(english, system="Other.", name="commands")))]
    assert keys[0] == keys[1]
    # The system message of a shot is not shown, so it does not count.
    assert keys[-1] == keys[0]
    assert len(set(keys)) == 7


def test_the_key_ignores_training_samples_that_no_prompt_shows(english):
    strategy = FewShot(shots=2)
    assert fingerprint(strategy.reads(english)) == fingerprint(strategy.reads(changed(english, 5, reference="other")))
