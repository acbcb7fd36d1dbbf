"""Percentiles and intervals, against numpy's, scipy's binomial and seeded trials."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest

from srdeploy.report.statistics import (
    by_visit,
    joined_unrest,
    median_interval,
    moods_of,
    order_interval,
    percentile,
    ratio_between,
    student,
    summary,
    swing,
)

scipy_stats = pytest.importorskip("scipy.stats")


def test_percentiles_are_numpys() -> None:
    values = np.random.default_rng(0).lognormal(size=101).tolist()
    for percent in (0, 1, 37.5, 50, 90, 99, 100):
        assert percentile(values, percent) == pytest.approx(np.percentile(values, percent), rel=1e-12)
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@pytest.mark.parametrize("n", [8, 9, 12, 50, 377, 1500])
def test_the_interval_is_the_narrowest_pair_of_ranks_that_covers(n: int) -> None:
    low, high = order_interval([float(i) for i in range(n)], 0.99)
    rank = int(low) + 1
    assert high == n - rank
    assert 1 - 2 * scipy_stats.binom.cdf(rank - 1, n, 0.5) >= 0.99
    assert 1 - 2 * scipy_stats.binom.cdf(rank, n, 0.5) < 0.99


def test_it_covers_as_often_as_it_says_whatever_the_distribution() -> None:
    rng = np.random.default_rng(1)
    outside = 0
    for _ in range(1000):
        values = rng.exponential(size=40) ** 3
        low, high = order_interval(values.tolist(), 0.9)
        outside += not low <= np.log(2) ** 3 <= high
    assert outside <= 100 * 1.3


def test_few_values_give_their_range() -> None:
    assert order_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    assert order_interval([5.0]) == (5.0, 5.0)


def test_a_drift_widens_the_interval() -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 0.02, 90)
    still, drifting = (10 + noise).tolist(), (10 + noise + np.linspace(0, 2, 90)).tolist()
    assert np.ptp(median_interval(still)) < 0.03
    low, high = median_interval(drifting)
    assert low < 10.4 and high > 11.6


def test_two_runs_of_the_same_lie_in_each_others_intervals() -> None:
    """Of twenty pairs on a machine whose speed sways, at most one misses."""
    rng = np.random.default_rng(3)
    summaries = []
    for _ in range(21):
        visits = [4] * 40
        sway = np.repeat(rng.normal(0, 0.03, 40), 4)
        summaries.append(summary((20 * (1 + sway + rng.normal(0, 0.01, 160))).tolist(), visits))
    missed = sum(not b["interval"][0] <= a["p50"] <= b["interval"][1] for a, b in pairwise(summaries))
    assert missed <= 1


def test_a_machine_that_sways_between_quarters_widens_every_interval() -> None:
    still, slower = [1.0] * 40, [1.0] * 20 + [1.2] * 10 + [1.1] * 10
    assert swing([still, still]) == (1.0, 1.0)
    assert swing([[1.0, 2.0, 3.0]]) == (1.0, 1.0), "three visits say nothing of four quarters"
    least, most = swing([slower])
    assert least == pytest.approx(1 / 1.05) and most == pytest.approx(1.2 / 1.05)
    assert moods_of([still, [1.0, 2.0, 3.0]]) == 0.0
    quarters = [math.log(value) for value in (1.0, 1.0, 1.2, 1.1)]
    assert moods_of([slower, slower]) == pytest.approx(3.707 * np.std(quarters, ddof=1), rel=0.01)
    calm, swayed = summary([5.0] * 40), summary([5.0] * 40, moods=math.log(1.2))
    assert calm["interval"] == [5.0, 5.0] and swayed["interval"] == pytest.approx([5.0 / 1.2, 6.0])


def test_a_summary_is_of_the_samples() -> None:
    samples = [4.0, 1.0, 3.0, 2.0]
    found = summary(samples)
    assert (found["p50"], found["mean"], found["min"]) == (2.5, 2.5, 1.0)
    assert found["interval"][0] <= found["p50"] <= found["interval"][1]
    json.dumps(found, allow_nan=False)


def test_samples_are_cut_into_their_visits() -> None:
    assert list(by_visit([1, 2, 3, 4, 5], [2, 3])) == [[1, 2], [3, 4, 5]]
    assert list(by_visit([1, 2], [])) == [[1], [2]]
    assert list(by_visit([1, 2], [5])) == [[1], [2]], "counts that do not fit are no counts"


def test_few_visits_do_not_claim_much() -> None:
    assert summary([3.0])["confidence"] == 0
    assert summary([3.0, 4.0, 5.0])["confidence"] == 0.75
    assert summary([3.0] * 50)["confidence"] == 0.99


def test_a_ratio_does_not_see_what_the_machine_did_to_both() -> None:
    """Twice as slow for half of the run, which moves both medians, but never one visit against the one beside it."""
    random = np.random.default_rng(0)
    mood = np.where(np.arange(40) < 21, 1.0, 2.0)
    ours, theirs = (base * mood * random.normal(1, 0.01, 40) for base in (1.05, 1.0))
    ratio, (low, high) = ratio_between(ours.tolist(), [*theirs.tolist(), 99.0])
    assert low < ratio < high and 1.04 < ratio < 1.06 and high - low < 0.03
    assert low > 1.0


def test_few_visits_of_both_claim_little() -> None:
    """Two that agree by chance are no proof."""
    ratio, (low, high) = ratio_between([1.08, 1.1], [1.0, 1.0])
    assert ratio == pytest.approx(1.09) and low < 1 < high
    assert ratio_between([1.1], [1.0])[1] == pytest.approx((1.1, 1.1)), "one tells nothing, and nothing of its noise"


def test_rows_of_other_rounds_are_compared_by_their_medians() -> None:
    """The fifth visit of a slow row is not beside the fifth of a quick one."""
    ratio, (low, high) = ratio_between([2.0, 2.2, 2.4, 2.0], [1.0] * 8)
    assert ratio == 2.1 and low < 2.0 < 2.4 < high


def test_students_quantiles_are_those_of_the_tables() -> None:
    table = {(0.99, 1): 63.657, (0.99, 2): 9.925, (0.99, 3): 5.841, (0.99, 6): 3.707, (0.95, 10): 2.228}
    for (confidence, freedom), quantile in table.items():
        assert student(confidence, freedom) == pytest.approx(quantile, rel=0.01)
    assert student(0.99, 10**6) == pytest.approx(2.5758, rel=1e-4)


def test_unrest_is_of_quarters_and_not_of_visits() -> None:
    visits = [1.0, 3.0] * 8
    assert joined_unrest(visits) == (0.0, 3), "each quarter is like the others, however its visits scatter"
    moods = [math.exp(0.1 * (index // 4)) for index in range(16)]
    deviation = math.sqrt(sum((0.1 * (index - 1.5)) ** 2 for index in range(4)) / 3)
    assert joined_unrest(moods) == pytest.approx((deviation, 3))
    assert joined_unrest(moods, moods) == pytest.approx((deviation * math.sqrt(2), 6))
    assert joined_unrest([1.0, 2.0, 3.0], []) == (0.0, 0)
