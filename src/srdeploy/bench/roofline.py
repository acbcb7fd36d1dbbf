"""How far a network is from what the machine can do."""

from collections.abc import Mapping, Sequence
from typing import Any

from srdeploy.bench.subjects import Subject
from srdeploy.errors import MissingExtra, ModelError
from srdeploy.graph.files import load_model
from srdeploy.graph.work import Work, work_of


def limits(subject: Subject, milliseconds: float, measured_peaks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Work of a network and its shares of the machine's measured peaks, or why there are none, as a report has them.

    milliseconds: of one run. Williams, Waterman, Patterson, Roofline, CACM 52(4), 2009.
    """
    facts = subject.facts
    unknown = {"multiply_adds": None, "compute_share": None, "memory_share": None}
    if subject.path is None or facts["kind"] != "network":
        return {**unknown, "limits_why_not": "it is more than a network: opening, decoding or encoding too"}
    try:
        work: Work = work_of(load_model(subject.path), facts["input"][0], facts["input"][1], subject.path.name)
    except (MissingExtra, ModelError) as error:
        return {**unknown, "limits_why_not": str(error)}
    peak = next(p for p in measured_peaks if p["threads"] == facts["threads"])
    arithmetic = "int8" if facts["precision"] == "int8" else "fp32" if "fp32" in facts["precision"] else None
    best = peak.get({"int8": "int8_gops", "fp32": "fp32_gflops"}.get(arithmetic or "", ""))
    why_not = None
    if facts["device"] != "cpu" or best is None:
        best = None
        why_not = f"no peak of {facts['precision']} on {facts['device']} was measured"
    size = 1 if arithmetic == "int8" else 4
    least_bytes = work.layer_values * size
    return {
        "multiply_adds": work.multiply_adds,
        "compute_share": best and 2 * work.multiply_adds / milliseconds / 1e6 / best,
        "memory_share": None if why_not else least_bytes / milliseconds / 1e6 / peak["copy_gb_per_s"],
        "limits_why_not": why_not,
    }
