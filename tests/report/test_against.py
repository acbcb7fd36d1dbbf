"""Which changes are told from noise: on reports made up from seeds, where the truth is known."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from srdeploy.errors import InputError
from srdeploy.report.against import changed_environment, compare_reports, name_of

Report = dict[str, Any]
MakeUp = Callable[..., Report]


def test_an_unchanged_program_raises_no_alarm_and_a_tenth_slower_one_does(made_up: MakeUp) -> None:
    """Twenty repeats on a machine that drifts by 10 % and differs by up to 20 % from run to run."""
    alarms = caught = 0
    for seed in range(20):
        old = made_up(seed)
        alarms += any(c.verdict == "slower" for c in compare_reports(made_up(100 + seed), old))
        slower = [c.row for c in compare_reports(made_up(200 + seed, slowed=1.1), old) if c.verdict == "slower"]
        caught += slower == ["a-x4 fp32 ort 480x270 2 threads"]
    assert alarms <= 1
    assert caught >= 19


def test_what_became_faster_is_said(made_up: MakeUp) -> None:
    first = compare_reports(made_up(1, slowed=0.8), made_up(2))[0]
    assert first.verdict == "faster" and 0.78 < first.ratio < 0.82
    assert first.interval[0] < first.ratio < first.interval[1]


def test_small_changes_are_not_called_changes(made_up: MakeUp) -> None:
    assert compare_reports(made_up(1, slowed=1.03), made_up(2))[0].verdict == "same"


def test_a_change_is_what_clock_and_processor_time_both_say(made_up: MakeUp) -> None:
    """Clock times that sway by half tell nothing; neighbours that share caches make processor time longer alone."""
    old, new, slow = made_up(1, sway=0.5), made_up(2, sway=0.5), made_up(3, slowed=1.1, sway=0.5)
    for report in (old, new, slow):
        for row in report["rows"]:
            row["reference_ms"] = [2.0] * len(row["visits"])
    same, slower = compare_reports(new, old)[0], compare_reports(slow, old)[0]
    assert (same.by, same.verdict) == ("processor time", "same"), "the quieter of the two is shown"
    assert (slower.by, slower.verdict) == ("processor time", "unclear") and slower.interval[0] > 1
    old, new = made_up(1), made_up(2)
    for row in new["rows"]:
        row["cpu_ms"] = [1.5 * value for value in row["cpu_ms"]]
    assert {change.verdict for change in compare_reports(new, old)} == {"unclear"}
    for row in new["rows"]:
        del row["cpu_ms"]
    assert {(change.by, change.verdict) for change in compare_reports(new, old)} == {("clock", "same")}


def test_times_beside_another_reference_are_not_divided_by_it(made_up: MakeUp) -> None:
    old, new = made_up(1, drift=0), made_up(1, drift=0)
    old["environment"]["reference"] = "another"
    for row in new["rows"]:
        row["reference_ms"] = [3 * value for value in row["reference_ms"]]
        del row["cpu_ms"]
    change = compare_reports(new, old)[0]
    assert (change.ratio, change.by) == (1.0, "clock")
    del old["environment"]["reference"]
    assert compare_reports(new, old)[0].ratio == pytest.approx(1 / 3, rel=0.01)


def test_a_network_measured_again_is_compared_visit_by_visit(made_up: MakeUp) -> None:
    """However the machine swayed: both had their turns in one run."""
    old, new = made_up(1), made_up(2, slowed=1.1, sway=0.3)
    again = {**new["rows"][0], "model_sha256": "a"}
    again["samples_ms"] = [value / 1.1 for value in again["samples_ms"]]
    old["rows"][0]["model_sha256"] = "a"
    changes = compare_reports({**new, "again": [again]}, old)
    assert (changes[0].by, changes[0].verdict) == ("clock, in one run", "slower")
    assert changes[0].ratio == pytest.approx(1.1) and changes[0].interval == pytest.approx((1.1, 1.1))
    assert {change.by for change in changes[1:]} <= {"clock", "processor time"}
    again["model_sha256"] = "b"
    assert compare_reports({**new, "again": [again]}, old)[0].by != "clock, in one run"


def test_a_machine_of_moods_makes_no_alarms(made_up: MakeUp) -> None:
    """Quarters of a run that differ by more than visits do: what another run met is as far away."""
    old, new = made_up(1), made_up(2)
    for row in new["rows"]:
        for key in ("samples_ms", "cpu_ms"):
            n = len(row[key])
            moods = (0.85, 0.95, 1.05, 1.35)
            row[key] = [1.1 * value * moods[4 * index // n] for index, value in enumerate(row[key])]
    assert {change.verdict for change in compare_reports(new, old)} == {"unclear"}


def test_reports_with_samples_alone_are_compared(made_up: MakeUp) -> None:
    """The fields of the contract are enough."""
    kept = ("model", "backend", "precision", "device", "input", "latency_ms", "fps", "peak_memory_mb", "samples_ms")
    old = {"environment": {}, "rows": [{key: row[key] for key in kept} for row in made_up(1, drift=0)["rows"][:1]]}
    new = copy.deepcopy(old)
    assert compare_reports(new, old)[0].verdict == "same"
    new["rows"][0]["samples_ms"] = [value * 1.1 for value in new["rows"][0]["samples_ms"]]
    assert compare_reports(new, old)[0].verdict == "slower"


@pytest.mark.parametrize(("visits", "slowed", "verdict"), [(1, 3.0, "unclear"), (3, 1.0, "same"), (4, 2.0, "slower")])
def test_few_visits_tell_only_large_changes(made_up: MakeUp, visits: int, slowed: float, verdict: str) -> None:
    reports = [made_up(seed, factor, visits, sway=0.001, drift=0.0) for seed, factor in ((1, slowed), (2, 1.0))]
    change = compare_reports(*reports)[0]
    assert change.verdict in (verdict, "unclear" if verdict == "same" else verdict)


def test_one_network_against_another(made_up: MakeUp) -> None:
    old, new = made_up(1), made_up(2)
    old["rows"], new["rows"] = old["rows"][:1], [{**new["rows"][0], "model": "theirs"}]
    assert compare_reports(new, old)[0].verdict == "same"
    new["rows"][0]["input"] = [1, 1]
    with pytest.raises(InputError, match="no row in common"):
        compare_reports(new, old)


def test_reports_of_other_things(made_up: MakeUp) -> None:
    other = made_up(1)
    for row in other["rows"]:
        row["model"] = "another"
    with pytest.raises(InputError, match="no row in common"):
        compare_reports(made_up(2), other)
    with pytest.raises(InputError, match="is no report"):
        compare_reports(made_up(2), {"rows": [{}]})


def test_machines_that_differ_are_said_to() -> None:
    old = {"cpu": "A", "cores": 2, "libraries": {"numpy": "1", "torch": "2"}}
    new = {"cpu": "B", "cores": 2, "libraries": {"numpy": "2", "torch": "2"}}
    assert changed_environment(new, old) == ["cpu: A before, B now", "numpy: 1 before, 2 now"]
    assert changed_environment(new, {}) == []


def test_rows_have_names(made_up: MakeUp) -> None:
    row = {**made_up(1)["rows"][0], "batch": 4, "kind": "video"}
    assert name_of(row) == "a-x4 fp32 ort 480x270 2 threads batch 4 file to file"
