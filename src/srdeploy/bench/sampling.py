"""Taking samples: all rows in turns, round after round, until every median is known narrowly or time is up.

Turns let a drift of the machine (heat, neighbours, other programs) hit all rows alike; a reference workload before and
after each visit tells the machine's part from the program's.
"""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from srdeploy.bench.machine import Energy, Reference, timed
from srdeploy.bench.subjects import Subject
from srdeploy.report.statistics import half_width, median

VISIT_SECONDS = 0.2
"""A visit goes on for so long; a run that takes longer is a visit of its own."""

LEAST_VISITS = 16
"""Before an interval is believed."""

SLOW_SECONDS = 1.0
"""A row whose visit takes n times as long is visited in every n-th round only, or it would starve the others."""

COLLECT_ROUNDS = 10
"""Rounds between collections of garbage, which are kept out of the samples."""


@dataclass
class Samples:
    """What was measured of one row.

    samples_ms: milliseconds for each frame, in order of time; visits: how many of them belong to each visit; cpu_ms:
    processor time a frame, over all threads, of each visit; reference_ms and reference_cpu_ms: the reference's median
    times beside each visit. runs: in each visit, as many as the first had time for, or quick moments would count more
    than slow ones; seconds: that the first took. joules and frames: over all visits.
    """

    samples_ms: list[float] = field(default_factory=list)
    visits: list[int] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    reference_ms: list[float] = field(default_factory=list)
    reference_cpu_ms: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)
    runs: int = 0
    seconds: float = 0.0
    joules: float = 0.0
    frames: int = 0
    energy_why_not: str | None = None

    @property
    def every(self) -> int:
        """In which rounds it is visited."""
        return max(1, round(self.seconds / SLOW_SECONDS))

    def is_narrow(self, narrow: float) -> bool:
        """Whether the median's interval is at most `narrow` of it to each side."""
        return len(self.medians) >= LEAST_VISITS and half_width(self.medians) <= narrow


def take(
    subjects: Sequence[Subject],
    deadline: float,
    narrow: float,
    on_round: Callable[[int, int], None] = lambda narrow_rows, visits: None,
) -> list[Samples]:
    """Visit all subjects in turns until every row is narrow or time.monotonic() passes `deadline`.

    Each is visited once at least; they come warm. on_round(narrow rows, rounds done) is called after each round.
    """
    found = [Samples() for _ in subjects]
    threads = {subject.facts["threads"] for subject in subjects}
    references = {number: Reference(number) for number in threads}
    meters = [Energy(subject.facts["device"]) for subject in subjects]
    was_on = gc.isenabled()
    gc.disable()  # a collection in the middle of a run would be measured as the network's
    try:
        for rounds in count():
            for subject, samples, meter in zip(subjects, found, meters, strict=True):
                if rounds % samples.every:
                    continue
                _visit(subject, samples, references[subject.facts["threads"]], meter)
                if time.monotonic() >= deadline and all(s.visits for s in found):
                    return found
            if rounds % COLLECT_ROUNDS == 0:
                gc.collect()
            ready = sum(s.is_narrow(narrow) for s in found)
            on_round(ready, rounds + 1)
            if ready == len(found):
                break
    finally:
        if was_on:
            gc.enable()
    return found


def _visit(subject: Subject, samples: Samples, reference: Reference, meter: Energy) -> None:
    beside = reference()
    end = time.perf_counter() + VISIT_SECONDS
    if samples.runs > 3:
        subject.run(lambda: None)  # caches are others' after their turns, and a short run would show that
    taken: list[float] = []
    cpu: list[float] = []
    seconds = 0.0
    before = meter()
    while len(taken) < samples.runs or (not samples.runs and (not taken or time.perf_counter() < end)):
        frames, clock, processor = timed(lambda: subject.run(lambda: None))
        taken.append(clock / frames)
        seconds += clock / 1e3
        cpu.append(processor / frames)
        samples.frames += frames
    samples.joules += meter.spent(before, meter())
    samples.energy_why_not = meter.why_not
    samples.runs = samples.runs or len(taken)
    samples.seconds = samples.seconds or seconds
    beside += reference()
    samples.samples_ms += taken
    samples.visits.append(len(taken))
    samples.medians.append(median(taken))
    samples.cpu_ms.append(sum(cpu) / len(cpu))
    samples.reference_ms.append(median([clock for clock, _ in beside]))
    samples.reference_cpu_ms.append(median([processor for _, processor in beside]))
