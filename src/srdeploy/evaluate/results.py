"""What scoring gives: the scores of each picture, their mean, and the documents that are written of them."""

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srdeploy.atomic import atomic
from srdeploy.errors import OutputError
from srdeploy.media.base import check_place


@dataclass(frozen=True)
class ImageScores:
    """Scores of one picture, by metric; a PSNR is infinite where the result equals the picture."""

    name: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Evaluation:
    """Scores of one model on one folder.

    of_set: those that only all pictures together have (FID and its like). notes: what the numbers depend on.
    """

    model: str
    scale: int
    data: str
    images: tuple[ImageScores, ...]
    protocol: str
    of_set: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def mean(self) -> dict[str, float]:
        """The mean over the pictures, by metric, and then the metrics of the set."""
        of_pictures = {
            metric: math.fsum(image.scores[metric] for image in self.images) / len(self.images)
            for metric in self.images[0].scores
        }
        return {**of_pictures, **self.of_set}

    def gain(self, baseline: "Evaluation") -> dict[str, float]:
        """What the mean has above the baseline's, by metric; NaN where that is not defined."""
        theirs = baseline.mean
        return {
            metric: value - theirs[metric] if math.isfinite(value) and math.isfinite(theirs[metric]) else math.nan
            for metric, value in self.mean.items()
        }

    def to_dict(self, baseline: "Evaluation | None" = None) -> dict[str, Any]:
        """The document that `srdeploy eval --json` prints. JSON has no infinity: an infinite PSNR is None."""
        document = {
            "model": self.model,
            "scale": self.scale,
            "protocol": self.protocol,
            "data": self.data,
            "mean": _finite(self.mean),
            "images": [{"name": image.name, **_finite(image.scores)} for image in self.images],
        }
        if self.notes:
            document["notes"] = list(self.notes)
        if baseline is not None:
            document["baseline"] = {"model": baseline.model, "mean": _finite(baseline.mean)}
            document["gain"] = _finite(self.gain(baseline))
        return document

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), allow_nan=False)


def write_csv(path: Path, results: Sequence[Evaluation], overwrite: bool = False) -> None:
    """Write one row for each picture of each model: model, scale, name and the scores in full; whole by rename.

    Raises OutputError as check_csv does, and when the disk does not take it.
    """
    check_csv(path, overwrite)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["model", "scale", "name", *results[0].images[0].scores])
    for result in results:
        rows.writerows([result.model, result.scale, image.name, *image.scores.values()] for image in result.images)
    with atomic(path) as part:
        part.write_text(text.getvalue(), encoding="utf-8", errors="surrogateescape", newline="")


def check_csv(path: Path, overwrite: bool) -> None:
    """Raise OutputError when `path` cannot be written, or exists and is not to be overwritten."""
    check_place(path)
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"{path} exists already; type --overwrite to replace it, or another --csv")


def _finite(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {metric: value if math.isfinite(value) else None for metric, value in scores.items()}
