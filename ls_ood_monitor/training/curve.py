"""Losses and validation IoU of a run by epoch, as a table and a plot, updated while it trains."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from ..vision import torchvision_compat as _compat  # noqa: F401  lightning imports torchvision where it finds it

import pytorch_lightning as pl  # isort: skip

_COLUMNS = ("epoch", "train_loss", "validation_loss", "validation_IoU")


class TrainingCurve(pl.Callback):
    """Writes ``curve.csv`` and ``curve.png`` into ``folder`` after each epoch; a resumed run continues its curve."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[list[float]] = []
        self._losses: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        """The epochs so far, for a checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the epochs of a checkpoint."""
        self.rows = [list(row) for row in state_dict["rows"]]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Store the loss of the step."""
        self._losses.append(float(outputs["loss"]))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the epoch before its checkpoint is written, so that the checkpoint includes it."""
        if self._losses:
            metrics = trainer.callback_metrics
            checks = [float(metrics[name]) if name in metrics else float("nan") for name in _COLUMNS[2:]]
            self.rows.append([trainer.current_epoch + 1, float(np.mean(self._losses)), *checks])
            self._losses = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write both files, in the first process of a distributed run."""
        self.on_validation_end(trainer, pl_module)  # closes the epoch of a run without validation
        if trainer.is_global_zero:
            with (self.folder / "curve.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(_COLUMNS)
                writer.writerows([[f"{value:.6g}" for value in row] for row in self.rows])
            draw_curve(self.rows, self.folder / "curve.png")


def draw_curve(rows: list[list[float]], path: Path) -> None:
    """Draw losses (left axis) and validation mean IoU (right axis); ``rows`` as in ``curve.csv``."""
    from matplotlib.figure import Figure

    epoch, train, check, iou = np.array(rows, np.float64).T
    figure = Figure(figsize=(7.0, 3.6), layout="constrained")
    left = figure.subplots()
    right = left.twinx()
    lines = left.plot(epoch, train, color="tab:blue", label="training loss")
    if np.isfinite(check).any():
        lines += left.plot(epoch, check, color="tab:blue", linestyle="--", label="validation loss")
        lines += right.plot(epoch, iou, color="tab:green", marker="o", markersize=3, label="validation mIoU")
    left.set_xlabel("epoch")
    left.set_ylabel("loss")
    left.set_ylim(bottom=0)
    right.set_ylabel("mIoU")
    right.set_ylim(0, 1)
    left.grid(alpha=0.3)
    left.legend(handles=lines, loc="upper center", ncols=len(lines), frameon=False)
    figure.savefig(path, dpi=110)
