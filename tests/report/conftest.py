"""Reports made up from a seed: rows with noise, bad moments and drift, as a busy machine gives them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from srdeploy.report.statistics import summary

Report = dict[str, Any]


def _row(
    rng: np.random.Generator, milliseconds: float, visits: int, machine: np.ndarray[Any, Any], **facts: Any
) -> Report:
    runs = 4
    noise = rng.lognormal(0, 0.02, (visits, runs)) * (1 + 0.5 * (rng.random((visits, runs)) < 0.05))
    samples = (milliseconds * machine[:, None] * noise).ravel().tolist()
    counts = [runs] * visits
    p50 = summary(samples, counts)["p50"]
    row = {
        "kind": "network",
        "model": "espcn-x4",
        "scale": 4,
        "backend": "ort",
        "precision": "fp32",
        "device": "cpu",
        "input": [270, 480],
        "threads": 2,
        "batch": 1,
        "tile": "none",
        "peer": False,
        "latency_ms": summary(samples, counts),
        "fps": 1e3 / p50,
        "megapixels_per_s": 1.0,
        "samples_ms": samples,
        "visits": counts,
        "reference_ms": (2.0 * machine * rng.lognormal(0, 0.01, visits)).tolist(),
        "cpu_ms": (2 * milliseconds * rng.lognormal(0, 0.01, visits)).tolist(),
        "reference_cpu_ms": (4.0 * rng.lognormal(0, 0.01, visits)).tolist(),
        "psnr_y_set5": None,
        "peak_memory_mb": 100.0,
    }
    return {**row, **facts}


def _report(seed: int, slowed: float = 1.0, visits: int = 40, drift: float = 0.1, sway: float = 0.02) -> Report:
    """Twelve rows: four models, three engines. slowed: the factor on the first row's time; drift: how much slower the
    machine is in the end than in the beginning; sway: how its speed varies from visit to visit."""
    rng = np.random.default_rng(seed)
    machine = np.linspace(1, 1 + drift, visits) * rng.lognormal(0, sway, visits) * rng.uniform(0.9, 1.1)
    rows = []
    for model, quality, milliseconds in (
        ("a-x4", 30.6, 30),
        ("b-x4", 31.0, 60),
        ("c-x4", 30.7, 12),
        ("d-x4", 32.0, 900),
    ):
        for backend, factor in (("ort", 1.0), ("openvino", 0.8), ("pytorch <compiled>", 2.5)):
            time = milliseconds * factor * (slowed if not rows else 1)
            facts = {"model": model, "backend": backend, "psnr_y_set5": quality, "peer": "torch" in backend}
            rows.append(_row(rng, time, visits, machine, **facts))
    if visits >= 8:
        rows += [
            _row(rng, 8, visits, machine, model="a-x4", input=[68, 120]),
            _row(rng, 55, visits, machine, threads=1),
        ]
        rows.append(_row(rng, 45, visits, machine, kind="video", model="a-x4", file="clip.mp4"))
    return {
        "suite": "Made <up>",
        "date": "2026-11-24 12:00 UTC",
        "environment": {
            "srdeploy": "0",
            "python": "3.11",
            "system": "Linux",
            "machine": "x86_64",
            "cpu": "A processor",
            "cores": 2,
            "gpus": [],
            "libraries": {"onnxruntime": "1"},
            "peaks": [{"threads": 2, "fp32_gflops": 100.0, "int8_gops": None, "copy_gb_per_s": 10.0}],
        },
        "rows": rows,
        "not_measured": [
            {"model": "a-x4", "precision": "fp32", "backend": "ncnn", "reason": "it is not installed; " * 9}
        ],
    }


@pytest.fixture(scope="session")
def made_up() -> Callable[..., Report]:
    """(seed, slowed, visits, drift, sway) -> a report."""
    return _report
