"""What a judge's reply says: A, B or a tie, or nothing that is plain."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics.judge_reply import winner

LETTER = st.sampled_from("AB")
FORMS = [
    "{}", "{}.", "({})", "**{}**", "`{}`", "[[{}]]", '"{}"', "Answer {}", "answer {}.", "Option {}",
    "Assistant {} is the winner", "Winner: {}", "Winner:{}", "winner = answer {}", "Winner - {}", "**Winner:** {}",
    "**Winner: {}**", "### Winner\n{}", "Winner:\n\n{}", "Winner: {} because it is right",
    "Winner: {}, for it is complete", "Winner: [{}]", "The winner is {}.", "The winner is answer {}, which is right.",
    "Verdict: {}", "Final answer: {}", "My choice: {}!", "Preferred answer: {}", "The better answer is {}.",
    "Answer {} is better", "Answer {} is clearly the better one.", "{} is the winner", "{} wins.", "I prefer {}.",
    "I'd choose answer {}.", "I would go with {}.", "I think {} is better", "Ganador: {}", "获胜者：{}",
    "获胜者是{}。因为更准确", "胜者：{}", "{}更好", "回答{}更好", "我选择{}", "答案：{}", "最终获胜者是{}",
    "<think>Is it tie?</think>Winner: {}", "<winner>{}</winner>", r"\boxed{{{}}}", "{}\n\nIt is right and complete.",
    "Some thoughts first.\n{}", "{{'winner': '{}'}}", "Both are equally good, yet one is shorter. Winner: {}",
]  # fmt: skip
TIES = [
    "tie", "Tie.", "a tie", "A tie", "Winner: tie", "Winner: a tie.", "It's a tie.", "draw", "equal",
    "Both are equally good.", "They are equal", "Both answers are equal in quality.", "A and B are equally good",
    "both", "neither", "Winner: neither", "Neither is better.", "Neither A nor B is better", "No difference", "[[C]]",
    "平局", "获胜者：平局", "两者一样好", "不相上下", '{"winner": "tie"}',
]  # fmt: skip
UNREAD = [
    "", " ", "Both are fine.", "A good answer needs facts.", "A better answer would cite sources.",
    "I cannot decide.", "I can't say which is better", "As an AI I have no view.",
    "I'm sorry, I can't help with that.", "Winner:", "Winner: unclear", "Winner: A or B", "Winner: A/B",
    "Winner: A, B", "Winner: A\nWinner: B", "Winner: A, or Winner: B, or Winner: tie.", "Which is better, A or B?",
    "A is longer, B is right", "A is not better than B", "A isn't better", "Winner: not A",
    "If A is better then so be it", "A is better in tone but B is better overall", "not a tie", "They are not equal.",
    "Winner: A concise answer", "The answer mentions a tie clip.", "A不比B好", "A并不更好", "不是平局",
    "<think>A is better", "Banana", '{"winner": null}', '{"winner": "A or B"}', '{"answer": "A good one"}',
    '{"winner": "A"} {"winner": "B"}', '{"A": 8, "B": 6}', "{}",
]  # fmt: skip


@given(st.sampled_from(FORMS), LETTER)
def test_a_winner_is_read_in_every_form(form: str, letter: str) -> None:
    assert winner(form.format(letter)) == letter


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("A is better than B", "A"),
        ("B优于A", "B"),
        ("A不如B", "B"),
        ("A比B更好", "A"),
        ("B is worse than A", "A"),
        ("A has better grammar but B is correct. Winner: B", "B"),
        ("Winner: B\nOn reflection:\n**Winner: A.**\n", "A"),
        ("Winner: B, A is wrong", "B"),
        ("Ａ", "A"),
        ("A better than B", "A"),
        ("Le gagnant est A", "A"),
        ("El ganador es B", "B"),
        ("승자: B", "B"),
    ],
)
def test_a_reply_that_names_both_is_read_where_it_is_plain(reply: str, letter: str) -> None:
    assert winner(reply) == letter


@pytest.mark.parametrize("reply", TIES)
def test_a_tie_is_what_says_so(reply: str) -> None:
    assert winner(reply) == "tie"


@pytest.mark.parametrize("reply", UNREAD)
def test_what_names_nobody_plainly_is_unread(reply: str) -> None:
    assert winner(reply) is None


JSON_FORMS = st.sampled_from(
    [
        lambda said: {"winner": said},
        lambda said: {"reasoning": "B is short. A is better.", "winner": said},
        lambda said: {"result": {"Winner": said, "confidence": 0.9}},
        lambda said: {"final_verdict": said},
        lambda said: {"preferred_answer": said},
        lambda said: [{"choice": said}],
        lambda said: {"获胜者": said},
    ]
)


@given(JSON_FORMS, st.sampled_from(["A", "B", "tie"]), st.sampled_from(["{}", "```json\n{}\n```", "Sure! {} Done."]))
def test_json_is_read_wherever_the_winner_stands(make, said: str, around: str) -> None:  # type: ignore[no-untyped-def]
    assert winner(around.replace("{}", json.dumps(make(said), ensure_ascii=False, indent=1))) == said


@given(st.text(alphabet="ABab tie.,:\n{}[]\"'是否更好平局not is better winner", max_size=60))
def test_no_reply_breaks_the_reader(reply: str) -> None:
    assert winner(reply) in ("A", "B", "tie", None)


@given(st.from_regex(r"[A-Z][a-z]{2,9}( [a-z]{2,9}){0,8}\.", fullmatch=True))
def test_no_letter_is_read_out_of_words(sentence: str) -> None:
    assert winner(sentence) in (None, "tie")


@pytest.mark.parametrize("text", ["(", "- ", "<answer>", "winner: ", "A and ", "{", "not A is better "])
def test_a_reply_that_repeats_itself_is_read_at_once(text: str) -> None:
    assert winner(text * 20_000) is None
