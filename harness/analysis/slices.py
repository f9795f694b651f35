"""Where a tuned system helps and hurts: its difference from the baseline on parts of the holdout.

Which language each text of a set is in.

What samples have in common: the traits by which a holdout is sliced.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.errors import Incomparable
from harness.metrics.exact import canonical
from harness.stats.compare import DEFAULT_LEVEL, Comparison, SystemScores, compare, group_count, statistic_of
from harness.stats.multiplicity import benjamini_hochberg
from harness.stats.wording import count
from harness.types.protocols import CorpusMetric, Named
from harness.types.samples import Sample, Split

# Below this, short questions get languages that nobody wrote: at 0.95 none of 4,000 English ones (Banking77) did.
_SURE = 0.95
# Of texts. English ones that look foreign by chance: 2 of 4,080 (Banking77), none of 500 (OpenBookQA).
_FOREIGN_SHARE = 0.03
# Letters that English has not, and common words of other languages. Only words in either case: "ı" would be an "i".
_FOREIGN = re.compile(
    r"[\u00c0-\u024f]|\b(?i:der|das|und|ist|nicht|ein|eine|wie|ich|zu|auf|wird|kann|le|les|des|est|une|que|pour|dans|je|"
    r"du|el|las|una|por|para|como|il|che|di|della|een|het|niet|van|och|att|det|som|og|jeg|til|nie|jest|jak|yang|saya|"
    r"hogy|egy|este)\b"
)
# Scripts that one language mostly uses; the others need the words.
_SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7af]")),
    ("zh", re.compile("[\u3400-\u9fff]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
    ("el", re.compile("[\u0370-\u03ff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
)
_ALPHABETS = (
    ("Cyrillic", re.compile("[\u0400-\u04ff]")),
    ("Arabic", re.compile("[\u0600-\u06ff]")),
    ("Devanagari", re.compile("[\u0900-\u097f]")),
)


def languages(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the ISO 639-1 code of each text's language, "und" (undetermined) if nothing tells.

    A text too short to tell is taken for the set's commonest language of the same alphabet. A set that shows no sign
    of a second language is "und" throughout: one language parts nothing, and the table of words takes 1 to 2 s.
    """
    return _languages(tuple(texts))


@lru_cache(maxsize=1)  # One holdout is sliced anew for every metric.
def _languages(texts: tuple[str, ...]) -> tuple[str, ...]:
    found = [_by_script(text) for text in texts]
    unsettled = [place for place, code in enumerate(found) if code is None]
    if not unsettled:
        return tuple(code or "und" for code in found)
    alphabets = {place: _alphabet(texts[place]) for place in unsettled}
    if len(unsettled) == len(texts) and set(alphabets.values()) == {"Latin"} and not _may_be_mixed(texts):
        return ("und",) * len(texts)
    told = dict(zip(unsettled, _by_words([texts[place] for place in unsettled]), strict=True))
    commonest = {
        alphabet: _commonest(told[place] for place in unsettled if alphabets[place] == alphabet)
        for alphabet in set(alphabets.values())
    }
    return tuple(code or told[place] or commonest[alphabets[place]] for place, code in enumerate(found))


def _by_script(text: str) -> str | None:
    """Return the language that the script alone tells: the first that more than a third of the letters are in."""
    letters = sum(character.isalpha() for character in text)
    for code, script in _SCRIPTS:
        # Japanese mixes its own signs with Chinese ones, and any script with Latin names.
        if letters and 3 * len(script.findall(text)) > letters:
            return code
    return None


def _alphabet(text: str) -> str:
    return next((name for name, letters in _ALPHABETS if letters.search(text)), "Latin")


def _may_be_mixed(texts: Sequence[str]) -> bool:
    """Do enough texts hold a letter or a word that English has not?"""
    foreign = sum(bool(_FOREIGN.search(text)) for text in texts)
    return foreign >= _FOREIGN_SHARE * len(texts)


def _by_words(texts: Sequence[str]) -> list[str | None]:
    classify = _classifier()
    return [code if probability >= _SURE else None for code, probability in map(classify, texts)]


@cache
def _classifier() -> Callable[[str], tuple[str, float]]:
    """Reading the table of the words takes 0.8 s."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    classify: Callable[[str], tuple[str, float]] = identifier.classify
    return classify


def _commonest(codes: Iterable[str | None]) -> str:
    counted = Counter(code for code in codes if code is not None)
    return counted.most_common(1)[0][0] if counted else "und"


MOST_VALUES = 20
_LANGUAGE = "language"
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\s\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Trait:
    """One way to part samples: the value of each, shape (n,), and the values in the order of the table."""

    dimension: str
    of_samples: tuple[str, ...]
    values: tuple[str, ...]


def traits(samples: Sequence[Sample], language_of: Callable[[str], str | None] | None = None) -> tuple[Trait, ...]:
    """Return the traits that part the samples in 2 to `MOST_VALUES` values: tags, input length, label, language.

    Args:
        language_of: Of an input, None if unknown; it stands in for detection. The tag "language" goes before
            both.
    """
    found = [*_tags(samples), _lengths(samples), _labels(samples), _spoken(samples, language_of)]
    return tuple(trait for trait in found if trait is not None and 2 <= len(trait.values) <= MOST_VALUES)


def word_count(text: str) -> int:
    """Return the number of words; where words have no spaces between them, each sign counts."""
    return len(_WORD.findall(text))


def label_of(sample: Sample) -> str:
    """Return the expected value as a label: the reference if nothing was read from it."""
    if sample.expected is None:
        return sample.reference.strip()
    return sample.expected if isinstance(sample.expected, str) else canonical(sample.expected)


def has_labels(labels: Sequence[str]) -> bool:
    """Are these the labels of a classification: few, and each used five times on average?"""
    return 2 <= len(set(labels)) <= MOST_VALUES and len(labels) >= 5 * len(set(labels))


def _tags(samples: Sequence[Sample]) -> list[Trait]:
    names = sorted({name for sample in samples for name in sample.tags} - {_LANGUAGE})
    return [_trait(f"tag: {name}", [sample.tags.get(name, "(none)") for sample in samples]) for name in names]


def _lengths(samples: Sequence[Sample]) -> Trait:
    """Part the inputs in thirds by their number of words; equal lengths are never parted."""
    lengths = [word_count(sample.input) for sample in samples]
    ordered = sorted(lengths)
    edges = sorted({ordered[math.ceil(len(ordered) * third / 3) - 1] for third in (1, 2)} - {ordered[-1]})
    bounds = list(zip([0, *(edge + 1 for edge in edges)], [*edges, ordered[-1]], strict=True))
    names = [_span(low, high, last=high == ordered[-1]) for low, high in bounds]
    places = [sum(length > edge for edge in edges) for length in lengths]
    return Trait("length", tuple(names[place] for place in places), tuple(names))


def _span(low: int, high: int, *, last: bool) -> str:
    if last and low > 0:
        return f"{low} words or more"
    return f"up to {count(high, 'word')}" if low == 0 else f"{low} to {high} words"


def _labels(samples: Sequence[Sample]) -> Trait | None:
    labels = [label_of(sample)[:_SHOWN_CHARACTERS] for sample in samples]
    return _trait("label", labels) if has_labels(labels) else None


def _spoken(samples: Sequence[Sample], language_of: Callable[[str], str | None] | None) -> Trait:
    if any(_LANGUAGE in sample.tags for sample in samples):
        return _trait(_LANGUAGE, [sample.tags.get(_LANGUAGE, "und") for sample in samples])
    if language_of is None:
        return _trait(_LANGUAGE, languages([sample.input for sample in samples]))
    return _trait(_LANGUAGE, [language_of(sample.input) or "und" for sample in samples])


def _trait(dimension: str, of_samples: Sequence[str]) -> Trait:
    counted = Counter(of_samples)
    return Trait(dimension, tuple(of_samples), tuple(sorted(counted, key=lambda value: (-counted[value], value))))


FEWEST_TESTED = 10

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One metric's paired difference on the samples that share one trait.

    Args:
        dimension: "tag: NAME", "length", "label", "language" or "leakage".
        value: The trait, in words.
        position: Where it stands in the table. Means, difference, low and high are in score units. low, high,
            p_value and q_value are None if the samples are too few to test.
        q_value: P_value corrected for all tested slices of the metric (Benjamini and Hochberg); None if the
            slice is no part of that search, as with "leakage".
    """

    metric: str
    dimension: str
    value: str
    position: int
    samples: int
    baseline_mean: float
    tuned_mean: float
    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    q_value: float | None


def slices(
    metric: Named,
    *,
    baseline: SystemScores,
    tuned: SystemScores,
    samples: Sequence[Sample],
    language_of: Callable[[str], str | None] | None = None,
) -> tuple[Slice, ...]:
    """Return the differences by declared tags, input length, label and language. They are explored, never decide.

    Args:
        samples: Those of the scores, in their order. A slice of fewer than `FEWEST_TESTED` samples, or clusters of
            them, is counted, not tested. Every trait parts the whole holdout, so each costs about one comparison of
            it: seconds for a metric that is resampled (unbounded, or of the set) on 10,000 samples or more,
            milliseconds for a bounded mean.

    Raises:
        Incomparable: If samples and scores differ.

    Source: Benjamini and Hochberg, Controlling the False Discovery Rate, JRSS B 57 (1995).
    """
    _require_same(metric, baseline, tuned, tuple(sample.id for sample in samples))
    found: list[Slice] = []
    for trait in traits(samples, language_of):
        of_samples = np.array(trait.of_samples, dtype=object)
        for value in trait.values:
            places = np.flatnonzero(of_samples == value)
            named = (trait.dimension, value, len(found))
            found.append(_slice(metric, named, (baseline, tuned), places, DEFAULT_LEVEL))
    return _with_q_values(found)


def clean_subset(
    metric: Named,
    *,
    baseline: SystemScores,
    tuned: SystemScores,
    leaked: Collection[str],
    level: float = DEFAULT_LEVEL,
) -> tuple[Slice, ...]:
    """Return the difference on the samples that no leakage check names ("clean"), then on all ("all").

    Empty if no sample of these leaked; without "clean" where every one did.

    Raises:
        Incomparable: If the two systems were scored on different samples.
    """
    _require_same(metric, baseline, tuned, baseline.sample_ids)
    kept = np.array([name not in leaked for name in baseline.sample_ids])
    if kept.all():
        return ()
    parts = [("clean", np.flatnonzero(kept)), ("all", np.arange(kept.size))]
    return tuple(
        _slice(metric, ("leakage", value, place), (baseline, tuned), places, level)
        for place, (value, places) in enumerate(parts)
        if places.size
    )


def _require_same(metric: Named, baseline: SystemScores, tuned: SystemScores, ids: tuple[str, ...]) -> None:
    for system in (baseline, tuned):
        if system.sample_ids != ids:
            raise Incomparable(
                f"{metric.name}: {system.system} was scored on other samples than those to be sliced, or in another "
                "order; give the samples of the split in its order"
            )


def _slice(
    metric: Named,
    named: tuple[str, str, int],
    systems: tuple[SystemScores, SystemScores],
    places: Places,
    level: float,
) -> Slice:
    baseline, tuned = (_part(system, places) for system in systems)
    found: Comparison | None = None
    if (group_count(baseline) or places.size) >= FEWEST_TESTED:
        found = compare(metric, split=Split.HOLDOUT.value, baseline=baseline, tuned=tuned, level=level)
    before, after = (
        (found.baseline_mean, found.tuned_mean) if found else (_mean(metric, baseline), _mean(metric, tuned))
    )
    dimension, value, position = named
    return Slice(
        metric=metric.name,
        dimension=dimension,
        value=value,
        position=position,
        samples=int(places.size),
        baseline_mean=before,
        tuned_mean=after,
        difference=after - before,
        low=found.low if found and math.isfinite(found.low) else None,
        high=found.high if found and math.isfinite(found.high) else None,
        p_value=found.p_value if found else None,
        q_value=None,
    )


def _part(system: SystemScores, places: Places) -> SystemScores:
    return SystemScores(
        system=system.system,
        sample_ids=tuple(system.sample_ids[place] for place in places),
        scores=system.scores[:, places],
        details=tuple(tuple(row[place] for place in places) for row in system.details),
        clusters=tuple(system.clusters[place] for place in places) if system.clusters else (),
    )


def _mean(metric: Named, system: SystemScores) -> float:
    if isinstance(metric, CorpusMetric):
        once = np.ones((1, len(system.sample_ids)))
        return float(np.mean([statistic_of(metric)(row, once)[0] for row in system.details]))
    return float(system.scores.mean())


def _with_q_values(found: Sequence[Slice]) -> tuple[Slice, ...]:
    tested = [part.p_value for part in found if part.p_value is not None]
    if not tested:
        return tuple(found)
    corrected = iter(benjamini_hochberg(tested))
    return tuple(part if part.p_value is None else replace(part, q_value=float(next(corrected))) for part in found)
