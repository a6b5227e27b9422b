"""The checkpoints of a run: write the best three, the best and the last; read one; check what it fits."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DataError
from ..vision import torchvision_compat as _compat  # noqa: F401  lightning imports torchvision where it finds it
from ..vision.deeplabv3p import NetworkSettings
from ..vision.preprocess import PreprocessSpec
from .module import SegmentationModule
from .settings import TrainingSettings
from .weight_file import load_torch_file

import pytorch_lightning as pl  # isort: skip
from pytorch_lightning.callbacks import ModelCheckpoint  # isort: skip

#: Settings that a resumed run may change: none of them shapes the content of a checkpoint.
_MAY_DIFFER = ("epochs", "early_stopping_epochs", "workers", "precision", "seed")


def checkpoints_of(out: Path) -> Path:
    """Folder of the checkpoints of a run in ``out``."""
    return out / "checkpoints"


def require_fresh(out: Path, resume: Path | None = None) -> None:
    """Refuse a folder that holds the checkpoints of a run other than that of ``resume``. Raises ``ConfigError``."""
    folder = checkpoints_of(out)
    if any(folder.glob("*.ckpt")) and (resume is None or resume.resolve().parent != folder.resolve()):
        raise ConfigError(
            f"{out} holds the checkpoints of another run; name another folder, remove this one, or go on with it "
            f"(resume {folder / 'last.ckpt'})."
        )


def load_checkpoint(path: Path) -> SegmentationModule:
    """Rebuild a training module from a checkpoint of ``train_network``, without running any code in it.

    Raises ``DataError`` if the file is missing or not such a checkpoint.
    """
    content = load_torch_file(path, "a checkpoint that 'ls-ood train' wrote")
    try:
        module = SegmentationModule(**content["hyper_parameters"])
        module.load_state_dict(content["state_dict"])
    except (KeyError, TypeError, RuntimeError, ConfigError) as error:
        raise DataError(f"{path} is not a checkpoint of this version's training ({error}).") from error
    return module


def require_same_run(
    checkpoint: SegmentationModule, network: NetworkSettings, training: TrainingSettings, spec: PreprocessSpec
) -> None:
    """Refuse to resume ``checkpoint`` with settings that differ, except those that only set length or speed of a run.

    Raises ``ConfigError``, which names each setting that differs, with both values.
    """
    pairs = ((checkpoint.network.settings, network), (checkpoint.training_settings, training), (checkpoint.spec, spec))
    differing = [
        f"{field.name} {getattr(before, field.name)} instead of {getattr(now, field.name)}"
        for before, now in pairs
        for field in fields(before)
        if field.name not in _MAY_DIFFER and getattr(before, field.name) != getattr(now, field.name)
    ]
    if differing:
        raise ConfigError(
            f"the run to resume has {', '.join(differing)}; give the options that it was started with, or start from its "
            "weights alone (load_pretrained)."
        )


class LastCheckpoint(ModelCheckpoint):
    """Writes ``last.ckpt`` after every epoch; Lightning's ``save_last`` skips epochs that are not among the best."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "last", enable_version_counter=False)


class BestCheckpoints(ModelCheckpoint):
    """Keeps the three best by validation mean IoU, ``epoch=<n>.ckpt``, and a link ``best.ckpt`` to the best one."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            "epoch={epoch:03d}",
            monitor="validation_IoU",
            mode="max",
            save_top_k=3,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Point ``best.ckpt`` to the best so far."""
        super().on_train_epoch_end(trainer, pl_module)
        if trainer.is_global_zero and self.best_model_path:
            best = Path(self.best_model_path)
            link = best.with_name("best.ckpt")
            link.unlink(missing_ok=True)
            link.symlink_to(best.name)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state; a run whose folder was moved finds its files in the new place."""
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
