"""What can be said of a time from its samples: percentiles, and an interval for the median that does not flatter.

Samples come in visits: bursts of runs, far apart, while all else that is measured takes its turns. Runs of one burst
share the machine's mood, so a visit counts once, by its median.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import NormalDist, stdev
from typing import Any

CONFIDENCE = 0.99
"""With which changes are told, and a second run of the same length has its median inside a stated interval."""

MANY = 8
"""Visits from which an interval comes of their order."""

_STATED = 0.9997
"""Confidence of a stated interval for the median itself. A second run's median errs as much as the first's, so their
difference has a spread sqrt(2) times as wide: 2.576 sqrt(2) normal deviations for 99 %, which alone cover 99.97 %."""


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle ones. Raises ValueError without values."""
    return percentile(values, 50)


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear interpolation between order statistics (definition 7 of Hyndman and Fan, American Statistician 1996).

    percent: 0 .. 100. Raises ValueError without values.
    """
    if not values:
        raise ValueError("there are no values")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def order_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """An interval for the median that assumes nothing of how values are distributed: two order statistics.

    From the k-th smallest to the k-th largest, k the largest rank with 2 P(Binomial(n, 1/2) < k) <= 1 - confidence
    (David and Nagaraja, Order Statistics, 3rd ed. 2003, section 7.1). With too few values for the confidence (fewer
    than 8 for 99 %) it is all of their range, which then holds the median less surely.
    """
    ordered = sorted(values)
    n = len(ordered)
    below = 0.5**n if n < 1000 else 0.0
    total, rank = 0.0, 0
    for k in range(n // 2 + 1):
        total += below if n < 1000 else math.exp(_log_choose(n, k) - n * math.log(2))
        if 2 * total > 1 - confidence:
            break
        rank = k + 1
        below *= (n - k) / (k + 1)
    rank = max(rank, 1)
    return ordered[rank - 1], ordered[n - rank]


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """`order_interval`, widened to the medians of the first, middle and last third of the values in time.

    Without drift that adds next to nothing; where a machine became slower or faster meanwhile, it says so.
    """
    low, high = order_interval(values, confidence)
    n = len(values)
    if n >= 9:
        thirds = [median(values[n * i // 3 : n * (i + 1) // 3]) for i in range(3)]
        low, high = min(low, *thirds), max(high, *thirds)
    return low, high


def swing(references: Sequence[Sequence[float]]) -> tuple[float, float]:
    """How far a machine's own speed moved during a run: the least and the most of its quarters, against the whole.

    references: for each row, the times of a fixed piece of work beside its visits, in order of time. (0.98, 1.03): it
    took 2 % less than its median in one quarter and 3 % more in another. (1, 1) when no row has a visit in each
    quarter. A run cannot see what the machine will do after it; this is the best that it knows of that.
    """
    quarters: list[list[float]] = [[], [], [], []]
    for values in references:
        for quarter, of_row in zip(quarters, _quarters(values), strict=False):
            quarter += of_row
    if not quarters[0]:
        return 1.0, 1.0
    whole = median([value for quarter in quarters for value in quarter])
    middles = [median(quarter) / whole for quarter in quarters]
    return min(1.0, *middles), max(1.0, *middles)


def joined_unrest(*runs: Sequence[float]) -> tuple[float, int]:
    """How far quarters of a run lie from each other: the standard deviation of the logarithm of their medians, its
    squares added over runs, and its degrees of freedom; (0, 0) when no run has a visit in each quarter.

    runs: times by visit, in order of time. What neighbours do to a machine lasts for minutes, so visits close to each
    other share it and their scatter does not show it; quarters, far apart, show more of it.
    """
    squares, freedom = 0.0, 0
    for values in runs:
        middles = [median(quarter) for quarter in _quarters([math.log(value) for value in values])]
        if middles:
            squares += stdev(middles) ** 2
            freedom += len(middles) - 1
    return math.sqrt(squares), freedom


def moods_of(rows: Sequence[Sequence[float]]) -> float:
    """How far the logarithm of a median may be from that of another run, for what the machine was like, at CONFIDENCE.

    rows: times by visit of all rows of a run. Another run is taken to be as far away as a quarter of this one is.
    """
    deviation, freedom = joined_unrest(*rows)
    return student(CONFIDENCE, freedom) * deviation * math.sqrt(3 / freedom) if freedom else 0.0


def _quarters(values: Sequence[float]) -> list[Sequence[float]]:
    """Empty when there are fewer than four values."""
    n = len(values)
    return [values[n * index // 4 : n * (index + 1) // 4] for index in range(4)] if n >= 4 else []


def student(confidence: float, freedom: int) -> float:
    """The two-sided quantile of Student's distribution: 2.58 for 0.99 and many degrees of freedom, 63.7 for one.

    Exact for one and two; else the series of Fisher (Metron, 1926; Abramowitz and Stegun 26.7.5), 1 % low at three.
    """
    tail = (1 + confidence) / 2
    if freedom == 1:
        return math.tan(math.pi * (tail - 0.5))
    if freedom == 2:
        return (2 * tail - 1) / math.sqrt(2 * tail * (1 - tail))
    z = NormalDist().inv_cdf(tail)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))


def summary(samples: Sequence[float], visits: Sequence[int] = (), moods: float = 0.0) -> dict[str, Any]:
    """The contract's latency_ms of samples in milliseconds: p50, p90, p99, mean, min.

    interval: where the median of a second run falls, `confidence` of the time: CONFIDENCE, or what so few visits allow.
    moods: of the machine meanwhile, see `moods_of`, by which the interval is widened.
    """
    middles = [median(visit) for visit in by_visit(samples, visits)]
    low, high = median_interval(middles, _STATED)
    p50 = median(samples)
    below, above = (math.hypot(math.log(p50 / min(low, p50)), moods), math.hypot(math.log(max(high, p50) / p50), moods))
    return {
        "p50": p50,
        "p90": percentile(samples, 90),
        "p99": percentile(samples, 99),
        "mean": math.fsum(samples) / len(samples),
        "min": min(samples),
        "interval": [p50 * math.exp(-below), p50 * math.exp(above)],
        "confidence": min(CONFIDENCE, 1 - 2 * 0.5 ** len(middles)),
    }


def by_visit(samples: Sequence[float], visits: Sequence[int]) -> Iterator[Sequence[float]]:
    """Cut the samples, in order of time, into visits of so many each; without counts each sample is its own visit."""
    if sum(visits) != len(samples) or 0 in visits:
        visits = [1] * len(samples)
    start = 0
    for count in visits:
        yield samples[start : start + count]
        start += count


def half_width(values: Sequence[float]) -> float:
    """Half the width of the interval that `summary` would state, as a share of the median."""
    low, high = median_interval(values, _STATED)
    return (high - low) / 2 / median(values)


def ratio_between(
    ours: Sequence[float], theirs: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, tuple[float, float]]:
    """The ratio of two rows' times, one number for each visit, of one run, and its interval.

    Rows that were visited in the same rounds, moments apart (a run may end between the two), are compared visit by
    visit, so that what the machine did meanwhile is in both; others by their medians.
    """
    if abs(len(ours) - len(theirs)) > 1:
        return ratio_of_medians(ours, theirs, confidence)
    ratios = [one / other for one, other in zip(ours, theirs, strict=False)]
    ratio, (low, high) = median(ratios), _log_interval(ratios, confidence)
    return ratio, (ratio * math.exp(low), ratio * math.exp(high))


def ratio_of_medians(
    new: Sequence[float], old: Sequence[float], confidence: float = CONFIDENCE, besides: float = 0.0
) -> tuple[float, tuple[float, float]]:
    """New over old, and its interval: the logarithms' errors are independent, so their squares add.

    besides: an error of the logarithm that their scatter does not show, at that confidence.
    """
    ratio = median(new) / median(old)
    (new_low, new_high), (old_low, old_high) = (_log_interval(side, confidence) for side in (new, old))
    below, above = math.hypot(new_low, old_high, besides), math.hypot(new_high, old_low, besides)
    return ratio, (ratio * math.exp(-below), ratio * math.exp(above))


def _log_interval(side: Sequence[float], confidence: float) -> tuple[float, float]:
    """How far below and above the logarithm of its median that of the truth may be."""
    if len(side) < MANY:  # too few for order statistics at 99 %: as if logarithms were normal
        if len(side) == 1:
            return 0.0, 0.0
        error = student(confidence, len(side) - 1) * stdev(map(math.log, side)) / math.sqrt(len(side))
        return -error, error
    low, high = (math.log(bound / median(side)) for bound in median_interval(side, confidence))
    return low, high


def clock_times(row: Mapping[str, Any], normalised: bool = False) -> list[float]:
    """One number for each visit of a report's row: its median time, or that divided by the reference's beside it."""
    middles = [median(visit) for visit in by_visit(row["samples_ms"], row.get("visits") or ())]
    return _divided(middles, row["reference_ms"]) if normalised else middles


def processor_times(row: Mapping[str, Any]) -> list[float]:
    """One number for each visit: its processor time a frame, divided by that of the reference beside it."""
    return _divided(row["cpu_ms"], row["reference_cpu_ms"])


def _divided(values: Sequence[float], beside: Sequence[float]) -> list[float]:
    return [value / other for value, other in zip(values, beside, strict=True)]


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
