"""The settings of a training run; its checkpoint stores them."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import Checked, setting
from .augment import AUGMENTATIONS
from .losses import LOSSES
from .schedule import SCHEDULES

OPTIMISERS = ("adamw", "sgd")
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


@dataclass(frozen=True)
class TrainingSettings(Checked):
    """Optimisation of the network. The defaults train the embedded bundle; ``reference_settings`` gives the reference's."""

    epochs: int = setting(14, "passes over the training pictures", low=1, high=10000)
    batch: int = setting(8, "pictures a step and device", low=1, high=1024)
    loss: str = setting("cross_entropy", "segmentation loss", choices=LOSSES)
    optimiser: str = setting("adamw", "optimiser", choices=OPTIMISERS)
    learning_rate: float = setting(2e-3, "peak learning rate of the new layers", low=1e-7, high=1.0)
    backbone_rate: float = setting(0.3, "learning rate of the backbone relative to the new layers", low=0.0, high=10.0)
    weight_decay: float = setting(1e-2, "weight decay", low=0.0, high=1.0)
    schedule: str = setting("one_cycle", "learning-rate schedule", choices=SCHEDULES)
    augmentation: str = setting("mirror", "augmentation of every training picture", choices=AUGMENTATIONS)
    precision: str = setting("32-true", "arithmetic of the training", choices=PRECISIONS)
    frozen_stages: int = setting(0, "stages of the backbone kept at their start weights", low=0, high=4)
    early_stopping_epochs: int = setting(
        0, "epochs without a better mIoU that end the run; 0 = never", low=0, high=10000
    )
    workers: int = setting(0, "processes that read pictures; 0 = in the training process", low=0, high=256)
    seed: int = setting(0, "seed of initialisation, order and augmentation", low=0, high=2**31 - 1)


def reference_settings(model: str, **overrides: object) -> TrainingSettings:
    """The reference's stochastic gradient descent; unlike the reference's, the cosine schedule really decays.

    Learning rate 0.01 for ``deeplabv3p-normal`` and 0.001 for the random variants, momentum 0.9, weight decay 5e-4.
    """
    values: dict[str, object] = {
        "epochs": 1,
        "batch": 16,
        "optimiser": "sgd",
        "learning_rate": 0.01 if model == "deeplabv3p-normal" else 0.001,
        "backbone_rate": 1.0,
        "weight_decay": 5e-4,
        "schedule": "cosine",
        "augmentation": "none",
        "seed": 9290,
    }
    return TrainingSettings(**{**values, **overrides})  # type: ignore[arg-type]
