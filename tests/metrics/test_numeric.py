"""Numeric: the last number of the answer against the reference's."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.errors import InvalidData, InvalidExperiment
from harness.metrics import Numeric
from harness.metrics.numeric import given_number
from harness.types.protocols import Metric
from harness.types.samples import Answer, Sample, Score


def scored(metric: Numeric, reference: str, text: str) -> Score:
    return metric.score(Sample(id="s1", input="?", reference=reference), Answer(sample_id="s1", text=text))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42", "42"),
        ("First 3, then 4.", "4"),
        ("it is -3.5 degrees", "-3.5"),
        ("(7)-2", "2"),
        ("= -2", "-2"),
        ("答案是-5", "-5"),
        ("1,234.50 in all", "1234.5"),
        ("about .5", "0.5"),
        ("2e-3", "0.002"),
        ("3 × 10^5", "300000"),
        ("3×10⁵", "300000"),
        ("5kg", "5"),
        ("5 m²", "5"),
        ("5k", "5000"),
        ("3 million", "3000000"),
        ("3千克 or 3万", "30000"),
        ("\u22127", "-7"),
        ("minus 7", "-7"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("４２", "42"),
        ("٤٢", "42"),
        ("¾", "3/4"),
        ("1½", "3/2"),
        ("1 1/2", "3/2"),
        (r"\boxed{-\frac{3}{4}}", "-3/4"),
        ("18 (see step 2)", "18"),
        ("18 [2]", "18"),
        ("eighteen (18)", "18"),
        ("42\n\nExplanation: 6 * 7 in 2 steps", "42"),
        ("3\n+ 4\n= 7", "7"),
        ("10^6", "1000000"),
        ("10²", "100"),
        ("18 apples, as of 2024-05-01", "18"),
        ("#### 18\n\nLet me check: 20 - 2", "18"),
        ("#### 18 (2 eggs)\nQuestion: and then?\n#### 25", "18"),
        ("#### 1. Add 3\n#### Step 2\nso 18", "18"),
        ("18\nQ: how many?\nAnswer: 25", "18"),
        ("The answer is 18, which is 3 more.", "18"),
        ("The answer is not 12 but 18.", "18"),
        ("The answer is 12. No: the answer is 18", "18"),
        ("Answer: 3 * 6 = 18 dollars, or 9 each", "18"),
        ("**Answer:**\n\n**18**", "18"),
        ("答案：18。共3步", "18"),
        ("<answer>18</answer> after 3 steps", "18"),
        ("Final Answer: The final answer is $18$. I hope it is correct in 1 go.", "18"),
        (r"so \(x = 18\)", "18"),
        (r"1\,000 and 1{,}000", "1000"),
        ("x2 and H2O", None),
        ("none", None),
        ("", None),
        ("12,34", None),
        ("7-2", None),
        ("3 or 4", None),
        ("3 * 6", None),
        ("2^10^6", None),
        ("√2", None),
        ("3π", None),
        ("2^10", None),
        ("5/0", None),
        ("9" * 20_000, None),
        ("1/" + "9" * 20_000, None),
        ("10:30", None),
        ("May 5", None),
        ("#### 3 or 4\n4", None),
    ],
)
def test_the_number_that_an_answer_gives(text: str, number: str | None) -> None:
    found = given_number(text)
    assert (found and found.value) == (None if number is None else Fraction(number))


# -- every way to write a number ----------------------------------------------------------------------------

EXACT = st.decimals(-(10**9), 10**9, places=3)


def grouped(number: Decimal, mark: str, decimal: str) -> str:
    """Return the number with its thousands grouped by `mark`."""
    return f"{number:,}".replace(",", "_").replace(".", decimal).replace("_", mark)


def full_width(text: str) -> str:
    return "".join(chr(ord(character) + 0xFEE0) for character in text)


WAYS = {
    "plain": str,
    "grouped by commas": lambda n: grouped(n, ",", "."),
    "grouped by spaces": lambda n: grouped(n, " ", "."),
    "grouped by no-break spaces": lambda n: grouped(n, "\u00a0", "."),
    "grouped by narrow spaces": lambda n: grouped(n, "\u202f", "."),
    "grouped by apostrophes": lambda n: grouped(n, "'", "."),
    "full width": lambda n: full_width(str(n)),
    "Unicode minus": lambda n: str(n).replace("-", "\u2212"),
    "exponent": lambda n: f"{n:e}".replace("E", "e"),
    "fraction": lambda n: "{}/{}".format(*n.as_integer_ratio()),
    "percent": lambda n: f"{n * 100} %",
    "per mille": lambda n: f"{n * 1000}‰",
    "dollars": lambda n: f"${n}" if n >= 0 else f"-${-n}",
    "in bold": lambda n: f"**{n}**",
    "in a box": lambda n: f"so \\boxed{{{n}}} in 2 steps",
    "after hashes": lambda n: f"3 and 4\n#### {n} (2 left)\n5",
    "after words": lambda n: f"First 2. The answer is {n}. I took 3 steps.",
    "in Chinese": lambda n: f"共3步，答案是{n}。",
    "at the end": lambda n: f"2 and 3 make {n}.",
}
COMMA_WAYS = {
    "plain": lambda n: str(n).replace(".", ","),
    "grouped by points": lambda n: grouped(n, ".", ","),
    "grouped by spaces": lambda n: grouped(n, " ", ","),
    "grouped by apostrophes": lambda n: grouped(n, "’", ","),
    "in a sentence": lambda n: f"Die Antwort ist {n} Euro.".replace(".", ",", 1) if n % 1 else f"Es sind {n:.0f}",
}


@given(EXACT, st.sampled_from(sorted(WAYS)))
def test_a_number_is_itself_in_every_way_of_writing_it(number: Decimal, way: str) -> None:
    assert scored(Numeric(), str(number), WAYS[way](number)).value == 1.0


@given(EXACT, EXACT, st.sampled_from(sorted(WAYS)), st.sampled_from(sorted(set(WAYS) - {"at the end"})))
def test_two_different_numbers_are_never_equal(one: Decimal, other: Decimal, way: str, reference_way: str) -> None:
    assume(one != other and one != other * 100 and one * 100 != other and one != other * 1000 and one * 1000 != other)
    assume(not {one * 10, one * Decimal("0.1")} & {other})
    assert scored(Numeric(), WAYS[reference_way](one), WAYS[way](other)).value == 0.0


@given(EXACT, EXACT, st.sampled_from(sorted(COMMA_WAYS)))
def test_decimal_commas_are_read_on_request(one: Decimal, other: Decimal, way: str) -> None:
    metric = Numeric(decimal=",")
    reference = str(one).replace(".", ",")
    assert scored(metric, reference, COMMA_WAYS[way](one)).value == 1.0
    assert scored(metric, reference, COMMA_WAYS[way](other)).value == float(one == other)


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("3/4", "1/4"),
        ("9234", "1 234"),
        ("234", "9 234"),
        ("5", "12,5"),
        ("12", "12,5"),
        ("30", "11:30"),
        ("4", "3-4"),
        ("4", "3–4"),
        ("3", "3 or 4"),
        ("3", "3 million"),
        ("3", "3万"),
        ("0.5", "0.5 %"),
        ("1", "1 %"),
        ("18", "-18"),
        ("1", "1½"),
        ("2", "1.2.2"),
        ("18", "The answer is 19, not 18"),
        ("18", "#### 19\n18"),
        ("1000", "1.000"),
    ],
)
def test_a_wrong_number_stays_wrong(reference: str, text: str) -> None:
    assert scored(Numeric(), reference, text).value == 0.0


@pytest.mark.parametrize(
    ("reference", "text"), [("0.5", "50%"), ("50%", "0.5"), ("50", "50 %"), ("50 %", "50"), ("2.5", "250 percent")]
)
def test_a_percentage_is_its_share_and_above_one_the_number_it_shows(reference: str, text: str) -> None:
    assert scored(Numeric(), reference, text).value == 1.0


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("many", "holds no number"),
        ("", "holds no number"),
        ("18 and 20", r"holds 2 numbers \(18, 20\)"),
        ("Answer: 3 apples and 4 pears", r"holds 2 numbers \(3, 4\)"),
        ("11:30", "is no number but a time: 11:30"),
        ("11h30", "is no number but a time"),
        ("3点30分", "is no number but a time"),
        ("10 am", "is no number but a time: 10 am"),
        ("2024-05-01", "is no number but a date: 2024-05-01"),
        ("1/5/2024", "is no number but a date"),
        ("5 May", "is no number but a date"),
        ("3:4", "is no number but a ratio: 3:4"),
        ("10–12", "is no number but a range: 10–12"),
        ("5 ± 0.1", "is no number but a range"),
        ("3 or 4", "is no number but a choice of numbers: 3 or 4"),
        ("12,5", r'groups digits as no number does: 12,5; .*Numeric\(decimal=","\)'),
        ("1.2.3", "groups digits as no number does"),
        ("≥ 5", "is no number but a formula"),
        (">5", "is no number but a formula"),
        ("0x1F", "is no number but a code"),
    ],
)
def test_a_reference_that_is_no_single_number_is_refused(reference: str, why: str) -> None:
    with pytest.raises(InvalidData, match=f"sample 's1': its reference .* {why}"):
        scored(Numeric(), reference, "3")


@pytest.mark.parametrize(
    "reference", ["18", "#### 18", "48/2 = 24, 48+24 = 72\n#### 18", "18 (9 + 9)", "$18.00", "3/4"]
)
def test_a_single_number_is_a_reference(reference: str) -> None:
    assert scored(Numeric(), reference, reference).value == 1.0


def test_bad_references_are_counted_and_named_before_anything_is_asked() -> None:
    samples = [Sample(id=f"s{place}", input="?", reference=text) for place, text in enumerate(["3", "11:30", "a"])]
    check = Numeric().check_references(samples)
    assert check is not None
    assert (check.status, check.items) == ("invalid", ("s1", "s2"))
    assert check.detail.startswith(
        "2 of 3 references are no single number ('s1': '11:30' is no number but a time: 11:30;"
    )
    assert Numeric().check_references(samples[:1]) is None


@pytest.mark.parametrize(
    ("metric", "text", "wanted"),
    [
        (Numeric(), "so it is 0.30", 1.0),
        (Numeric(), "0.31", 0.0),
        (Numeric(tolerance=0.1), "0.4", 1.0),
        (Numeric(tolerance=0.1), "0.41", 0.0),
        (Numeric(relative=0.5), "0.45", 1.0),
        (Numeric(relative=0.5), "0.46", 0.0),
        (Numeric(tolerance=1, relative=0.5), "1.2", 1.0),
        (Numeric(tolerance=1), "no idea", 0.0),
    ],
)
def test_the_wider_tolerance_decides(metric: Numeric, text: str, wanted: float) -> None:
    assert scored(metric, "0.3", text).value == wanted


def test_the_detail_holds_both_numbers() -> None:
    assert scored(Numeric(), "1,000", "999") == Score(0.0, detail=["1000", "999"])
    assert scored(Numeric(), "1,000", "many") == Score(0.0, detail=["1000", None])


def test_an_unknown_decimal_sign_is_refused() -> None:
    with pytest.raises(InvalidExperiment, match="decimal"):
        Numeric(decimal=";")  # type: ignore[arg-type]


@pytest.mark.parametrize("fields", [{"tolerance": -1.0}, {"relative": float("nan")}])
def test_a_tolerance_below_zero_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InvalidExperiment, match="give 0 or more"):
        Numeric(**fields)


def test_it_is_a_metric() -> None:
    assert isinstance(Numeric(), Metric)
