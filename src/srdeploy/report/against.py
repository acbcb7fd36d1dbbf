"""Two reports of the same rows: what became faster or slower, beyond the noise of both."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from srdeploy.errors import InputError
from srdeploy.report.statistics import (
    CONFIDENCE,
    clock_times,
    joined_unrest,
    median,
    processor_times,
    ratio_between,
    ratio_of_medians,
    student,
)

LEAST = 0.05
"""Smaller changes are not called changes: two starts of one program differ by a few percent."""

MOODS = 0.25
"""How much of a row's unrest stands for what a run does not see of the machine's moods: its median has less of it than
a quarter has, and part is in the scatter of its visits. Fitted to the 462 pairs of 22 unchanged runs on a shared host
(four rows each, 30 s): with it none was called changed, and of each row alone 0 to 3 %; without 3 %, and 0 to 11 %."""

KEY = ("kind", "backend", "model", "precision", "device", "input", "batch", "threads", "file", "tile", "sizes")
"""What makes two rows the same row. A key that one of them lacks is not compared."""

Verdict = Literal["slower", "faster", "same", "unclear"]
By = Literal["clock", "processor time", "clock, in one run"]
_Pair = tuple[Mapping[str, Any], Mapping[str, Any]]
"""A row of the new report, and of the old."""


@dataclass(frozen=True)
class Change:
    """One row in both reports.

    old_ms, new_ms: median times a frame. ratio: new over old, on the CPU each divided by the time of the reference
    workload that was measured beside it, if that was the same. interval: of the ratio. verdict: "slower" or "faster"
    when the ratio is LEAST away from 1 and its interval all on that side; "unclear" when a change of twice LEAST could
    hide in the interval; else "same". by: which of "clock" and "processor time" was the quieter; both must say so for a
    change. "clock, in one run" where the old network was measured again beside the new: old_ms is of that, and the
    ratio taken visit by visit.
    """

    row: str
    old_ms: float
    new_ms: float
    ratio: float
    interval: tuple[float, float]
    verdict: Verdict
    by: By

    def to_dict(self) -> dict[str, Any]:
        """The change as it stands in a report."""
        return asdict(self)


def compare_reports(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[Change]:
    """Every row that both reports have; of two reports of one row, these, whatever their models are called.

    Raises InputError when there is none, or when `old` is no report.

    Intervals are at a confidence of 1 - (1 - CONFIDENCE) / rows for each side (Bonferroni), so that many rows do not
    make false alarms likely, and are joined as independent errors of the logarithm.
    """
    pairs = _pairs(new, old)
    if not pairs:
        raise InputError("the two reports have no row in common; give --against a report of the same models and sizes")
    confidence = 1 - (1 - CONFIDENCE) / len(pairs)
    references = [report.get("environment", {}).get("reference") for report in (new, old)]
    changes = []
    for a, b in pairs:
        again = _beside(new, b)
        if again is not None:
            changes.append(_in_one_run(a, again, confidence))
        else:
            changes.append(_across_time(a, b, references[0] == references[1], confidence))
    return changes


def name_of(row: Mapping[str, Any]) -> str:
    """One row in words, as tables and messages name it."""
    height, width = row["input"]
    words = [row["model"], row["precision"], row["backend"], f"{width}x{height}"]
    if row.get("device", "cpu") != "cpu":
        words.append(row["device"])
    elif row.get("threads"):
        words.append(f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}")
    if row.get("batch", 1) > 1:
        words.append(f"batch {row['batch']}" if "sizes" not in row else f"{row['batch']} pictures")
    if "sizes" in row:
        words.append("one size" if row["sizes"] == 1 else f"{row['sizes']} sizes")
        words += [f"from a {row['file']}"] if "file" in row else []
    if row.get("kind") == "video":
        words.append("file to file")
    return " ".join(words)


def changed_environment(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[str]:
    """What the two machines differ in, one line each: a reader must not take that for the program's doing."""
    lines = []
    for key in ("cpu", "cores", "memory_mb", "governor", "system", "python", "gpus"):
        if old.get(key) != new.get(key) and key in old:
            lines.append(f"{key}: {old.get(key)} before, {new.get(key)} now")
    before, now = old.get("libraries", {}), new.get("libraries", {})
    for name in sorted({*before, *now}):
        if before and before.get(name) != now.get(name):
            lines.append(f"{name}: {before.get(name, 'not installed')} before, {now.get(name, 'not installed')} now")
    return lines


def counterparts(row: Mapping[str, Any], old: Mapping[str, Any], alone: bool) -> list[Mapping[str, Any]]:
    """Rows of an earlier report that a row, measured or only opened yet, is to be compared with.

    alone: it is the only one of its report; then the only row of the other is meant, whatever its model is called.
    """
    found = [other for other in old["rows"] if _is_same(row, other)]
    if not found and alone and len(old["rows"]) == 1:
        found = [other for other in old["rows"] if _is_same({**row, "model": other["model"]}, other)]
    return [other for other in found if other["samples_ms"]]


def _pairs(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[_Pair]:
    try:
        alone = len(new["rows"]) == 1
        return [(a, b) for a in new["rows"] if a["samples_ms"] for b in counterparts(a, old, alone)]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"that is no report of srdeploy bench ({error!r}); give --against its report.json") from None


def _is_same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return all(a[key] == b[key] for key in KEY if key in a and key in b)


def _on_gpu(row: Mapping[str, Any]) -> bool:
    return bool(row.get("device", "cpu") != "cpu")


def _beside(new: Mapping[str, Any], old: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the network of an old row took in the new run, where it was measured again."""
    known = old.get("model_sha256")
    again = (row for row in new.get("again", ()) if known and row["model_sha256"] == known)
    return next((row for row in again if _is_same(row, old)), None)


def _in_one_run(new: Mapping[str, Any], again: Mapping[str, Any], confidence: float) -> Change:
    ratio, interval = ratio_between(clock_times(new), clock_times(again), confidence)
    sure = min(len(clock_times(row)) for row in (new, again)) > 1
    verdict = _verdict(ratio, interval) if sure else "unclear"
    return Change(name_of(new), *_medians(again, new), ratio, interval, verdict, "clock, in one run")


def _across_time(new: Mapping[str, Any], old: Mapping[str, Any], one_reference: bool, confidence: float) -> Change:
    """Rows of two runs, each of which had the machine as it was then.

    What neighbours do to a shared machine moves a network and the reference unlike each other, and clock and processor
    time too: only what both of these say is a change, and the quieter one is shown.
    """
    both = (new, old)
    on_cpu = not _on_gpu(new)
    normalised = on_cpu and one_reference and all(row.get("reference_ms") for row in both)
    found: dict[By, tuple[float, tuple[float, float]]] = {
        "clock": _ratio(clock_times(new, normalised), clock_times(old, normalised), confidence)
    }
    if on_cpu and one_reference and all(row.get("cpu_ms") for row in both):
        found["processor time"] = _ratio(processor_times(new), processor_times(old), confidence)
    by = min(found, key=lambda name: found[name][1][1] / found[name][1][0])
    # One value alone has no noise that could be told from a change.
    sure = min(len(clock_times(row)) for row in both) > 1
    verdict = _agreed([_verdict(*value) for value in found.values()]) if sure else "unclear"
    return Change(name_of(new), *_medians(old, new), *found[by], verdict, by)


def _ratio(new: Sequence[float], old: Sequence[float], confidence: float) -> tuple[float, tuple[float, float]]:
    deviation, freedom = joined_unrest(new, old)
    moods = MOODS * deviation * student(confidence, freedom) if freedom else 0.0
    return ratio_of_medians(new, old, confidence, moods)


def _agreed(verdicts: Sequence[Verdict]) -> Verdict:
    said = set(verdicts)
    if len(said) == 1:
        return verdicts[0]
    return "same" if said == {"same", "unclear"} else "unclear"


def _medians(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[float, float]:
    return median(old["samples_ms"]), median(new["samples_ms"])


def _verdict(ratio: float, interval: tuple[float, float]) -> Verdict:
    if ratio > 1 + LEAST and interval[0] > 1:
        return "slower"
    if ratio < 1 / (1 + LEAST) and interval[1] < 1:
        return "faster"
    hidden = interval[1] > 1 + 2 * LEAST or interval[0] < 1 / (1 + 2 * LEAST)
    return "unclear" if hidden else "same"
