from harness.data.preferences import MadePairs, ScoredAnswer, pairs_from


def answer(sample: str, system: str, text: str, score: float, split: str = "dev") -> ScoredAnswer:
    return ScoredAnswer(split=split, sample_id=sample, question=f"{sample}?", system=system, text=text, score=score)


ANSWERS = [
    answer("a", "zero-shot", "no", 0.1),
    answer("a", "8-shot", "yes", 0.9),
    answer("a", "tuned", "maybe", 0.5),
    answer("b", "zero-shot", "same", 0.2),
    answer("b", "8-shot", "same ", 0.3),
    answer("c", "zero-shot", "one", 0.4),
    answer("c", "8-shot", "two", 0.4),
    answer("d", "zero-shot", "alone", 1.0),
    answer("e", "zero-shot", "", 0.0),
    answer("e", "8-shot", "words", 1.0),
]


def made(**changed: object) -> MadePairs:
    return pairs_from(ANSWERS, **{"better": "higher", "margin": 0.0, "metric": "f1", **changed})  # type: ignore[arg-type]


def test_the_best_answer_stands_against_the_worst() -> None:
    assert made().rows == (
        {
            "id": "a",
            "prompt": "a?",
            "chosen": "yes",
            "rejected": "no",
            "split": "dev",
            "metric": "f1",
            "chosen_system": "8-shot",
            "chosen_score": 0.9,
            "rejected_system": "zero-shot",
            "rejected_score": 0.1,
        },
    )


def test_what_gives_no_pair_is_counted_by_its_reason() -> None:
    assert list(made().lines()) == [
        "1 pairs of 5 samples",
        "left out: 1 samples with one answer only",
        "left out: 2 samples whose best and worst answer are the same text, or one of them empty",
        "left out: 1 samples whose best answer is not better than the worst by more than the margin",
    ]


def test_of_a_metric_that_should_be_low_the_lowest_is_best() -> None:
    (row,) = made(better="lower").rows

    assert (row["chosen"], row["rejected"]) == ("no", "yes")


def test_a_margin_leaves_out_what_differs_by_no_more() -> None:
    assert (made(margin=0.8).rows, made(margin=0.8).ties) == ((), 3)
    assert len(made(margin=0.79).rows) == 1
