"""From a suite to a report: the order of the steps, and what each row says in the end."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from srdeploy.backends.gpus import nvidia_gpus
from srdeploy.backends.nvml import driver_version
from srdeploy.bench.again import Earlier, earlier_network, keep_networks
from srdeploy.bench.fresh import measure_fresh
from srdeploy.bench.machine import REFERENCE, best_peaks, peaks
from srdeploy.bench.proof import prove
from srdeploy.bench.roofline import limits
from srdeploy.bench.sampling import Samples, take
from srdeploy.bench.subjects import Subject, open_row
from srdeploy.bench.suite import Row, Suite, rows
from srdeploy.environment import cores, environment, load
from srdeploy.errors import DeviceError, OutputError, RecipeError, SrdeployError
from srdeploy.parity import file_hash
from srdeploy.picture import Pixels
from srdeploy.report.against import name_of
from srdeploy.report.statistics import moods_of, summary, swing

Say = Callable[[str], None]

PROGRESS_SECONDS = 15


def measure(
    suite: Suite,
    say: Say = lambda line: None,
    strict: bool = False,
    earlier: Earlier | None = None,
    keep: Path | None = None,
) -> dict[str, Any]:
    """Measure every row of a suite and return the report, the contract's document with more in it.

    say: told what is being done, a line at a time. strict: a row that cannot be had is raised; otherwise it stands
    under "not_measured" with its reason. earlier: its networks that are other files now are measured too, under
    "again". keep: the report's folder, for the files that were measured. Raises DeviceError when nothing at all could
    be measured.
    """
    begun = time.monotonic()
    deadline = begun + suite.limit_s
    quality = _quality(suite)  # what is wrong with it is said now, and not after minutes of measuring
    machine = {**environment(), "cores": cores(), "gpus": nvidia_gpus(), "gpu_driver": driver_version()}
    machine["load_before"] = load()
    wanted = rows(suite)
    timed = _timed(wanted, suite, machine, quality, deadline, say, strict, earlier, keep) if wanted else {}
    report: dict[str, Any] = {
        "suite": suite.name,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "limit_s": suite.limit_s,
        "narrow": suite.narrow,
        "environment": machine,
        "rows": [],
        "not_measured": [],
        **timed,
    }
    if suite.parity is not None:
        report["parity"], unproved = prove(suite.parity, suite.folder, say)
        report["not_measured"] += unproved
    machine["load_after"] = load()
    report["seconds"] = round(time.monotonic() - begun, 1)
    return report


def _timed(
    wanted: Sequence[Row],
    suite: Suite,
    machine: dict[str, Any],
    quality: Mapping[str, float],
    deadline: float,
    say: Say,
    strict: bool,
    earlier: Earlier | None,
    keep: Path | None,
) -> dict[str, list[dict[str, Any]]]:
    """Rows that were measured and could not be, and old networks; the machine's peaks are added to what is known."""
    busy = machine["load_before"]
    if busy is not None and busy > machine["cores"] / 2:
        say(f"other programs are busy (load {busy:g} on {machine['cores']} cores): what follows is theirs too")
    with tempfile.TemporaryDirectory(prefix="srdeploy-bench-") as folder:
        opened, missing = _open_all(wanted, Path(folder), say, strict)
        before_them = _open_earlier(opened, earlier, Path(folder), say) if earlier is not None else {}
        # Each old network takes its turn right behind the one that took its place: the machine is the same for both.
        turns = [turn for row in opened for turn in (row, before_them.get(row)) if turn is not None]
        subjects = [turn.subject for turn in turns]
        threads = sorted({subject.facts["threads"] for subject in subjects})
        before = [peaks(count) for count in threads]
        agreement = _agreement(opened)
        left = max(0.0, deadline - time.monotonic())
        say(f"{len(subjects)} rows in turns, until each is known to {suite.narrow:.1%} or {left:.0f} s are over")
        samples = dict(zip(turns, take(subjects, deadline, suite.narrow, _now_and_then(say)), strict=True))
        # Twice, since a peak is the best that was seen and a busy moment would hide it.
        machine["peaks"] = [best_peaks(first, peaks(first["threads"])) for first in before]
        machine["swing"] = [_swing(count, samples) for count in threads]
        moods = {count: moods_of(_by_visit(count, samples)) for count in threads}
        machine["reference"] = REFERENCE
        if keep is not None:
            _keep(opened, keep, say)
        measured = [
            _row(row, samples[row], machine, moods, agreement.get(index), quality) for index, row in enumerate(opened)
        ]
        found = {"rows": measured, "not_measured": missing}
        if before_them:
            found["again"] = [_timing(row, samples[row], moods) for row in before_them.values()]
    return found


def _now_and_then(say: Say) -> Callable[[int, int], None]:
    """Tell of a round at most every PROGRESS_SECONDS."""
    last = time.monotonic()

    def on_round(ready: int, done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            say(f"round {done}: {ready} rows are narrow")

    return on_round


@dataclass(frozen=True, eq=False)
class _Opened:
    """A row that can be measured, its file's hash, what its own process told, and what a run of a network made."""

    subject: Subject
    sha256: str | None
    fresh: Mapping[str, Any] = field(default_factory=dict)
    made: Pixels | None = None


def _open_all(
    wanted: Sequence[Row], folder: Path, say: Say, strict: bool
) -> tuple[list[_Opened], list[dict[str, Any]]]:
    opened, missing = [], []
    for row in wanted:
        say(f"opening {row.model} {row.precision} on {row.backend}")
        try:
            subject = open_row(row, folder)
            first = measure_fresh(replace(row, threads=subject.facts["threads"], device=subject.facts["device"]))
            made = subject.result() if subject.result else None  # warm then, and known to run here too
        except (SrdeployError, OSError) as error:
            if strict:
                raise
            missing.append({**_asked(row), "reason": str(error)})
            continue
        opened.append(_Opened(subject, _hash(subject), first, made))
    if not opened:
        reason = f"{missing[0]['model']} on {missing[0]['backend']}: {missing[0]['reason']}" if missing else "no rows"
        raise DeviceError(f"nothing of the suite could be measured ({reason})")
    return opened, missing


def _hash(subject: Subject) -> str | None:
    return file_hash(subject.path) if subject.path else None


def _open_earlier(opened: Sequence[_Opened], earlier: Earlier, folder: Path, say: Say) -> dict[_Opened, _Opened]:
    """By row: the network that the earlier report has for it, if that was another file; it comes warm."""
    found = {}
    for row in opened:
        try:
            old = earlier_network(row.subject, row.sha256, len(opened) == 1, earlier, folder)
            if old is not None:
                say(f"{old.facts['model']} as it was before is measured again, in turns with what it is now")
                old.run(lambda: None)
                found[row] = _Opened(old, _hash(old))
        except (SrdeployError, OSError) as error:
            say(
                f"what {row.subject.facts['model']} was before cannot be measured again, so times are compared: {error}"
            )
    return found


def _keep(opened: Sequence[_Opened], folder: Path, say: Say) -> None:
    """Put the files that were measured beside the report, which took minutes and is written all the same."""
    try:
        keep_networks({row.sha256: row.subject for row in opened if row.sha256}, folder)
    except OutputError as error:
        say(f"--against this report will compare times alone: {error}")


def _asked(row: Row) -> dict[str, Any]:
    asked = asdict(row)
    asked["input"] = [asked.pop("height"), asked.pop("width")]
    asked["file"] = Path(row.file).name
    return asked


def _timing(opened: _Opened, taken: Samples, moods: Mapping[int, float]) -> dict[str, Any]:
    """Facts of a row, and what its time is known by."""
    facts = opened.subject.facts
    return {
        **facts,
        "model_sha256": opened.sha256,
        "latency_ms": summary(taken.samples_ms, taken.visits, moods[facts["threads"]]),
        "samples_ms": [round(value, 5) for value in taken.samples_ms],
        "visits": taken.visits,
        "cpu_ms": [round(value, 5) for value in taken.cpu_ms],
        "reference_ms": [round(value, 5) for value in taken.reference_ms],
        "reference_cpu_ms": [round(value, 5) for value in taken.reference_cpu_ms],
    }


def _row(
    opened: _Opened,
    taken: Samples,
    machine: Mapping[str, Any],
    moods: Mapping[int, float],
    agreement: Mapping[str, Any] | None,
    quality: Mapping[str, float],
) -> dict[str, Any]:
    subject, timing = opened.subject, _timing(opened, taken, moods)
    facts, p50 = subject.facts, timing["latency_ms"]["p50"]
    height, width = facts["input"]
    precision = facts["precision"].split(" ")[0]
    return {
        **timing,
        "fps": 1e3 / p50,
        "megapixels_per_s": 1e3 / p50 * height * width * facts["scale"] ** 2 / 1e6,
        **opened.fresh,
        "joules_per_frame": None if taken.energy_why_not else taken.joules / taken.frames,
        "energy_why_not": taken.energy_why_not,
        **limits(subject, p50, machine["peaks"]),
        "agreement": agreement,
        "psnr_y_set5": quality.get(f"{facts['model']}.{precision}"),
    }


def _by_visit(threads: int, samples: Mapping[_Opened, Samples]) -> list[list[float]]:
    """Times of all rows with so many threads."""
    return [taken.medians for row, taken in samples.items() if row.subject.facts["threads"] == threads]


def _swing(threads: int, samples: Mapping[_Opened, Samples]) -> dict[str, Any]:
    """How far the machine's speed with so many threads moved, by the reference beside all rows that have them."""
    least, most = swing(
        [taken.reference_ms for row, taken in samples.items() if row.subject.facts["threads"] == threads]
    )
    return {"threads": threads, "least": round(least, 4), "most": round(most, 4)}


def _agreement(opened: Sequence[_Opened]) -> dict[int, Any]:
    """By place: how far a network's result is from srdeploy's own fp32 at the same work, as the share of samples that
    are off and the most levels. It shows that peers did the same work."""
    ours: dict[tuple[Any, ...], Pixels] = {}
    keys = []
    for row in opened:
        facts = row.subject.facts
        keys.append((facts["model"], *facts["input"], facts["batch"]))
        if row.made is not None and facts["precision"] == "fp32" and not facts["peer"]:
            ours.setdefault(keys[-1], row.made)
    found = {}
    for index, (row, key) in enumerate(zip(opened, keys, strict=True)):
        best = ours.get(key)
        if row.made is not None and best is not None and row.made is not best:
            apart = np.abs(row.made.astype(np.int16) - best)
            found[index] = {"off": float(np.count_nonzero(apart) / apart.size), "levels": int(apart.max())}
    return found


def _quality(suite: Suite) -> dict[str, float]:
    """PSNR on Set5 by NAME.PRECISION, from the suite's folder of evaluations."""
    if not suite.quality:
        return {}
    folder = suite.folder / suite.quality
    if not folder.is_dir():
        raise RecipeError(f"quality is {suite.quality!r}, and there is no folder {folder}; mend it, or leave it out")
    found = {}
    for path in sorted(folder.glob("*.set5.json")):
        try:
            found[path.name.removesuffix(".set5.json")] = float(json.loads(path.read_text())["mean"]["psnr_y"])
        except (ValueError, KeyError, TypeError):
            raise RecipeError(f"{path} is no result of srdeploy eval --json; make it again") from None
    return found


def describe(row: Mapping[str, Any]) -> str:
    """One line of a measured row, for the terminal."""
    latency = row["latency_ms"]
    low, high = latency["interval"]
    sure = f"{low:.2f} to {high:.2f}" if latency["confidence"] >= 0.9 else "too few samples"
    return (
        f"{name_of(row)}: {latency['p50']:.2f} ms a frame ({sure}), p90 {latency['p90']:.2f}, "
        f"p99 {latency['p99']:.2f}, {row['fps']:.1f} frames/s, {row['megapixels_per_s']:.0f} Mpx/s out"
    )
