"""Which states of a run are kept: the best three, the best by name, and the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..vision import torchvision_compat as _compat  # noqa: F401  lightning imports torchvision where it finds it

import pytorch_lightning as pl  # isort: skip
from pytorch_lightning.callbacks import ModelCheckpoint  # isort: skip


def checkpoints_of(out: Path) -> Path:
    """Where a run in ``out`` keeps its checkpoints."""
    return out / "checkpoints"


def require_fresh(out: Path, resume: Path | None = None) -> None:
    """Refuse a folder with the checkpoints of another run than the one that ``resume`` goes on with.

    Raises:
        ConfigError: two runs in one folder, whose checkpoints and split would no longer belong together.
    """
    folder = checkpoints_of(out)
    if any(folder.glob("*.ckpt")) and (resume is None or resume.resolve().parent != folder.resolve()):
        raise ConfigError(
            f"{out} holds the checkpoints of another run; name another folder, remove this one, or go on with it "
            f"(resume {folder / 'last.ckpt'})."
        )


class LastCheckpoint(ModelCheckpoint):
    """``last.ckpt`` after every epoch; Lightning's own ``save_last`` leaves out those that are not among the best."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "last", enable_version_counter=False)


class BestCheckpoints(ModelCheckpoint):
    """The three best by mean IoU on validation pictures, ``epoch=<n>.ckpt``; ``best.ckpt`` is a link to the best."""

    def __init__(self, folder: Path) -> None:
        name = "epoch={epoch:03d}"
        super().__init__(
            folder,
            name,
            monitor="validation_IoU",
            mode="max",
            save_top_k=3,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Name the best so far."""
        super().on_train_epoch_end(trainer, pl_module)
        if trainer.is_global_zero and self.best_model_path:
            best = Path(self.best_model_path)
            link = best.with_name("best.ckpt")
            link.unlink(missing_ok=True)
            link.symlink_to(best.name)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint; a run that was moved finds its files where they are now."""
        here = Path(str(self.dirpath))
        names = {path: here / Path(path).name for path in state_dict["best_k_models"]}
        if all(path.exists() for path in names.values()):
            moved = {
                "dirpath": self.dirpath,
                "best_k_models": {str(names[path]): score for path, score in state_dict["best_k_models"].items()},
            }
            for key in ("best_model_path", "kth_best_model_path"):
                moved[key] = str(names[state_dict[key]]) if state_dict[key] else ""
            state_dict = {**state_dict, **moved}
        super().load_state_dict(state_dict)
