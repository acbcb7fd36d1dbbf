"""Two reports of the same rows: what became faster or slower, beyond the noise of both."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from srdeploy.errors import InputError
from srdeploy.report.statistics import CONFIDENCE, MANY, clock_times, median, processor_times, ratio_of_medians

LEAST = 0.05
"""Smaller changes are not called changes: two starts of one program differ by a few percent."""

KEY = ("kind", "backend", "model", "precision", "device", "input", "batch", "threads", "file", "tile", "sizes")
"""What makes two rows the same row. A key that one of them lacks is not compared."""

Verdict = Literal["slower", "faster", "same", "unclear"]


@dataclass(frozen=True)
class Change:
    """One row in both reports.

    old_ms, new_ms: median times a frame. ratio: new over old, each divided by the time of the reference workload that
    was measured beside it. interval: of the ratio. verdict: "slower" or "faster" when the ratio is LEAST away from 1
    and its interval all on that side; "unclear" when a change of twice LEAST could hide in the interval; else "same".
    by: "clock", or "processor time" where other programs made the clock's times too noisy to tell.
    """

    row: str
    old_ms: float
    new_ms: float
    ratio: float
    interval: tuple[float, float]
    verdict: Verdict
    by: Literal["clock", "processor time"]

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
    return [_change(a, b, confidence) for a, b in pairs]


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


def _pairs(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    try:
        pairs = [(a, b) for a in new["rows"] for b in old["rows"] if _same(a, b)]
        if not pairs and len(new["rows"]) == len(old["rows"]) == 1:  # one network against another
            pairs = [(a, b) for a in new["rows"] for b in old["rows"] if _same({**a, "model": b["model"]}, b)]
        return pairs
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"that is no report of srdeploy bench ({error!r}); give --against its report.json") from None


def _same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    measured = bool(a["samples_ms"]) and bool(b["samples_ms"])
    return measured and all(a[key] == b[key] for key in KEY if key in a and key in b)


def _change(new: Mapping[str, Any], old: Mapping[str, Any], confidence: float) -> Change:
    both = (new, old)
    normalised = all(row.get("reference_ms") for row in both)
    ratio, interval = ratio_of_medians(clock_times(new, normalised), clock_times(old, normalised), confidence)
    by: Literal["clock", "processor time"] = "clock"
    visits = min(len(clock_times(row)) for row in both)
    sure = visits > 1  # one value alone has no noise that could be told from a change
    # On a busy machine the reference and a network are not slowed alike: a wide interval is not to be believed either.
    if not _is_narrow(ratio, interval) and all(row.get("cpu_ms") and row["device"] == "cpu" for row in both):
        by, clock = "processor time", interval
        ratio, interval = ratio_of_medians(processor_times(new), processor_times(old), confidence)
        # Whoever shares a core's caches and units changes processor time too, for a while: a few visits do not tell
        # that, and what the clock rules out is not so.
        sure = visits >= MANY and clock[0] <= ratio <= clock[1]
    verdict = _verdict(ratio, interval) if sure else "unclear"
    times = [median(row["samples_ms"]) for row in (old, new)]
    return Change(name_of(new), times[0], times[1], ratio, interval, verdict, by)


def _is_narrow(ratio: float, interval: tuple[float, float]) -> bool:
    return interval[1] / ratio <= 1 + 2 * LEAST and ratio / interval[0] <= 1 + 2 * LEAST


def _verdict(ratio: float, interval: tuple[float, float]) -> Verdict:
    if ratio > 1 + LEAST and interval[0] > 1:
        return "slower"
    if ratio < 1 / (1 + LEAST) and interval[1] < 1:
        return "faster"
    hidden = interval[1] > 1 + 2 * LEAST or interval[0] < 1 / (1 + 2 * LEAST)
    return "unclear" if hidden else "same"
