"""What a run says of itself: log.csv, one row an epoch, and curve.png drawn from it."""

import csv
import time
from pathlib import Path
from typing import Any, cast

from srdeploy.atomic import atomic
from srdeploy.learn.loop import Callback, pl

COLUMNS = ("epoch", "step", "loss", "psnr_db", "rate", "seconds")


class RunLog(Callback):
    """Appends a row after each validation; a resumed run drops the rows that it is about to make again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.csv"
        self.curve = folder / "curve.png"
        self.rows: list[dict[str, Any]] = []
        self.started = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read back what an earlier part of this run wrote."""
        if self.path.exists():
            with self.path.open(newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) <= trainer.current_epoch]
        earlier = float(self.rows[-1]["seconds"]) if self.rows else 0.0
        self.started = time.monotonic() - earlier

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch's row and draw the curve again."""
        if not trainer.is_global_zero:
            return
        row = dict(cast(dict[str, Any], pl_module.row))
        row["rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        row["seconds"] = round(time.monotonic() - self.started, 1)
        self.rows.append(row)
        with atomic(self.path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the curve once the run is over or stopped."""
        if trainer.is_global_zero and self.rows:
            draw_curve(self.rows, self.curve)


def draw_curve(rows: list[dict[str, Any]], path: Path) -> None:
    """Validation PSNR (left axis) and loss (right axis, logarithmic) by epoch, as a PNG."""
    from matplotlib.figure import Figure

    epochs = [int(row["epoch"]) for row in rows]
    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    left = figure.subplots()
    left.plot(epochs, [float(row["psnr_db"]) for row in rows], color="#1f5fa8")
    left.set_xlabel("epoch")
    left.set_ylabel("validation PSNR, dB", color="#1f5fa8")
    left.grid(alpha=0.3)
    right = left.twinx()
    right.plot(epochs, [float(row["loss"]) for row in rows], color="#c06020", linewidth=0.8)
    right.set_yscale("log")
    right.set_ylabel("training loss", color="#c06020")
    with atomic(path) as part:
        figure.savefig(part)
