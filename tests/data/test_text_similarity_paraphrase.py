"""Copies in slightly other words are found; requests that are alike but ask something else are not."""

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.leakage.audit import audit, leaked_holdout_ids
from harness.data.text_similarity import (
    bound_of_similarity,
    content_of,
    core_of,
    numbers_of,
    paraphrase_similarity,
    words_of,
)
from harness.types.samples import Sample

REQUESTS = (
    "How do I change the address on my library account?",
    "I can't find the book that I returned last week in my list.",
    "Why was I charged a fee for the atlas?",
    "Is there a limit on how many films I can borrow at once?",
    "My reservation is still pending, what should I do?",
    "Can I renew a magazine that somebody else is waiting for?",
    "What happens to my card if I move to another town?",
    "The self-service machine didn't give me a receipt.",
    "When does the reading room open on public holidays?",
    "I have lost my card and need a new one before Friday.",
    "How long will it take until my order from the archive arrives?",
    "Do you have the collected letters in the original language?",
    "Could you tell me where the newspapers of 1961 are kept?",
    "My daughter is 2 weeks late with her picture book.",
    "Where can I return audio books when the building is closed?",
    "I don't understand the reminder that you sent me.",
    "Which of the branches has a scanner for large maps?",
    "The catalogue says it is available, but the shelf is empty.",
    "I'm trying to log in, and the site doesn't accept my password.",
    "What do I need to bring to register my grandmother?",
    "Can the music room be booked for a whole afternoon?",
    "Who decides which books are bought for the children's corner?",
    "A page is missing from the dictionary that I borrowed.",
    "How are the late fees for video games worked out?",
    "I would like to donate 3 boxes of travel guides.",
    "Is it possible to get an article copied and sent by post?",
    "Why has my interlibrary request been cancelled?",
    "Does the bookmobile stop at the school on Thursdays?",
    "I want to complain about the noise on the second floor.",
    "What's the fastest way to cancel all of my reservations?",
)
# Pairs that share most words and ask another thing, or of another thing.
OTHERS = (
    ("turn on the kitchen light", "turn off the kitchen light"),
    ("turn on the kitchen light", "turn on the bedroom light"),
    ("how do I send money to my account", "how do I send money from my account"),
    ("can I renew a magazine", "can I not renew a magazine"),
    ("where is my card", "when is my card"),
    ("set the heating to 21 degrees please", "set the heating to 22 degrees please"),
    ("why was my order cancelled", "how was my order cancelled"),
    ("the dog bites the man", "the man bites the dog"),
    ("打开厨房的灯", "打开卧室的灯"),
)


def shouted(text: str, chance: random.Random) -> str:
    return f" {text.upper()}!!"


def mistyped(text: str, chance: random.Random) -> str:
    place = chance.choice([place for place, letter in enumerate(text) if letter.isalpha() and place])
    return text[:place] + chance.choice(["x", "", text[place] * 2]) + text[place + 1 :]


def polite(text: str, chance: random.Random) -> str:
    return chance.choice(["Please, {}", "Hello! {}", "{} Thanks!", "Hi, {} Thank you."]).format(text)


def without_articles(text: str, chance: random.Random) -> str:
    articles = [place for place, word in enumerate(text.split()) if word in ("the", "a", "an", "my")]
    gone = chance.choice(articles) if articles else -1
    return " ".join(word for place, word in enumerate(text.split()) if place != gone)


def other_small_words(text: str, chance: random.Random) -> str:
    words = text.split()
    other = {"the": "a", "a": "the", "my": "the", "can": "could", "will": "would", "Can": "Could", "I": "we"}
    places = [place for place, word in enumerate(words) if word in other]
    for place in chance.sample(places, min(1, len(places))):
        words[place] = other[words[place]]
    return " ".join(words)


def swapped(text: str, chance: random.Random) -> str:
    words = text.split()
    place = chance.randrange(len(words) - 1)
    words[place], words[place + 1] = words[place + 1], words[place]
    return " ".join(words)


def adverb(text: str, chance: random.Random) -> str:
    words = text.split()
    words.insert(chance.randrange(1, len(words)), chance.choice(["just", "really", "actually", "now"]))
    return " ".join(words)


def written_out(text: str, chance: random.Random) -> str:
    for short, long in (("can't", "cannot"), ("didn't", "did not"), ("I'm", "I am"), ("What's", "What is")):
        text = text.replace(short, long)
    return text.replace("doesn't", "does not").replace("don't", "do not").replace("2", "two").replace("3", "three")


EDITS = [shouted, mistyped, polite, without_articles, other_small_words, swapped, adverb, written_out]


@pytest.mark.parametrize("edit", EDITS)
def test_at_least_95_of_100_edited_copies_are_found(edit: Callable[[str, random.Random], str]) -> None:
    chance = random.Random(0)
    drawn = [REQUESTS[place % len(REQUESTS)] for place in range(4 * len(REQUESTS))]
    edits = [(text, edit(text, chance)) for text in drawn]
    changed = list(dict.fromkeys((text, copy) for text, copy in edits if copy != text))
    holdout = [Sample(id=f"h{n}", input=text, reference=text) for n, (text, _) in enumerate(changed)]
    train = [Sample(id=f"t{n}", input=copy, reference=text) for n, (text, copy) in enumerate(changed)]

    found = leaked_holdout_ids(audit({"train": train, "holdout": holdout}))

    assert len(changed) >= 7
    assert len(found) >= 0.95 * len(changed)


def test_other_requests_raise_no_alarm_even_with_the_same_reference() -> None:
    train = [Sample(id=f"t{n}", input=text, reference="library") for n, text in enumerate(REQUESTS[:15])]
    holdout = [Sample(id=f"h{n}", input=text, reference="library") for n, text in enumerate(REQUESTS[15:])]
    train += [Sample(id=f"a{n}", input=one, reference="same") for n, (one, _) in enumerate(OTHERS)]
    holdout += [Sample(id=f"b{n}", input=other, reference="same") for n, (_, other) in enumerate(OTHERS)]

    assert leaked_holdout_ids(audit({"train": train, "holdout": holdout})) == frozenset()


def test_a_core_has_no_politeness_no_contraction_and_no_number_word() -> None:
    core = core_of(words_of("Hi, please! I don't have two cards; it can't be."))

    assert core == ("i", "do", "not", "have", "2", "cards", "it", "can", "not", "be")
    assert content_of(core) == ("not", "2", "cards", "not")
    assert core_of(words_of("Thanks!")) == ("thanks",)
    assert content_of(core_of(words_of("Is it?"))) == ("is", "it")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("find the red book", "find a red book", 1 - 0.2 / 4),
        ("my card is blocked what now", "what now my card is blocked", 1 - 0.45 / 6),
        ("find the red bok", "find a red book", 1 - (0.2 + 0.1) / 4),
        ("top up my card", "topup my card", 1 - 0.1 / 4),
        ("find the red book", "find the blue book", 1 - 2 / 4),
        ("", "", 1.0),
    ],
)
def test_small_words_and_order_cost_little(first: str, second: str, expected: float) -> None:
    pair = core_of(words_of(first)), core_of(words_of(second))

    assert paraphrase_similarity(*pair) == pytest.approx(expected)
    assert paraphrase_similarity(*reversed(pair)) == pytest.approx(expected)


def test_every_request_is_like_itself_alone() -> None:
    cores = [core_of(words_of(text)) for text in REQUESTS]

    assert {paraphrase_similarity(core, core) for core in cores} == {1.0}
    assert max(paraphrase_similarity(one, other) for one, other in pairwise(cores)) < 0.6


_WORDS = st.lists(
    st.sampled_from(["lamp", "lamps", "the", "7", "8", "71", "b2", "x", "room 7", "room7", "am"]), max_size=6
)


@given(_WORDS, _WORDS)
def test_numbers_that_differ_bound_the_similarity(first: list[str], second: list[str]) -> None:
    bound = bound_of_similarity(numbers_of(first), numbers_of(second), longer=max(len(first), len(second)))
    assert paraphrase_similarity(first, second) <= bound


def test_the_bound_is_reached_by_another_number() -> None:
    first, second = (tuple(f"turn the lamp in room {room} to blue please now".split()) for room in ("7", "8"))
    assert bound_of_similarity(numbers_of(first), numbers_of(second), longer=10) == pytest.approx(0.8)
    assert paraphrase_similarity(first, second) == pytest.approx(0.8)
