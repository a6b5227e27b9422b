"""Train the network: data loaders, callbacks, Lightning's Trainer, and the best weights at the end."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..datasets.labelled import ClassTable
from ..datasets.woodscape import SEMANTIC as WOODSCAPE_CLASSES
from ..errors import ConfigError, DataError, MonitorError
from ..vision.backbones import load_imagenet_weights
from ..vision.deeplabv3p import DeepLabV3Plus, NetworkSettings
from ..vision.preprocess import PreprocessSpec
from .checkpoints import BestCheckpoints, LastCheckpoint, checkpoints_of, load_checkpoint, require_fresh
from .curve import TrainingCurve
from .data import LabelledPictures, make_loader, plain_message
from .module import SegmentationModule
from .prediction_grid import PredictionGrid
from .settings import TrainingSettings
from .weights import load_pretrained, nearest_fit, unused_layers

import pytorch_lightning as pl  # isort: skip  after module, which guards torchvision
from pytorch_lightning import callbacks as pl_callbacks  # isort: skip
from pytorch_lightning.loggers import TensorBoardLogger  # isort: skip


@dataclass(frozen=True)
class Hardware:
    """Where to train."""

    accelerator: str = "auto"  # auto, cpu or gpu
    devices: int = 0  # of a node; 0 = all
    nodes: int = 1  # machines (SLURM sets up the rest)


def train_network(
    training: LabelledPictures,
    validation: LabelledPictures | None,
    settings: TrainingSettings,
    network_settings: NetworkSettings,
    spec: PreprocessSpec,
    *,
    out: Path | None = None,
    initial: dict[str, torch.Tensor] | None = None,
    pretrained: dict[str, torch.Tensor] | None = None,
    resume: Path | None = None,
    split: str = "",
    hardware: Hardware | None = None,
    classes: ClassTable = WOODSCAPE_CLASSES,
    callbacks: Sequence[pl.Callback] = (),
    on_warning: Callable[[str], None] = lambda message: None,
) -> DeepLabV3Plus:
    """Train a network and return it in eval mode: the state of the best validation mIoU with ``out``, else the last.

    Args:
        training: training pictures.
        validation: pictures of other drives, evaluated after every epoch; None = no validation.
        settings: optimisation.
        network_settings: architecture.
        spec: preprocessing.
        out: folder for checkpoints (best three, last, and ``best.ckpt``) and TensorBoard logs; None writes nothing.
        initial: ImageNet weights of the backbone (torchvision keys).
        pretrained: weights of a whole network to start from (fine tuning).
        resume: checkpoint of an interrupted run with the same settings.
        split: digest of the data set's split, stored in the checkpoints.
        hardware: devices.
        classes: names of the curves and colours of the pictures on TensorBoard.
        callbacks: further Lightning callbacks (progress).
        on_warning: called with a message for the user.

    Raises:
        DataError: fewer pictures than a batch, or an unreadable picture.
        ConfigError: ``out`` holds another run, weights of another architecture, or early stopping without validation.
    """
    if len(training) < settings.batch:
        raise DataError(
            f"{len(training)} pictures do not fill one batch of {settings.batch}; use a smaller batch or more pictures."
        )
    if out is not None:
        require_fresh(out, resume)
    if settings.early_stopping_epochs and not validation:
        raise ConfigError("early stopping needs validation pictures; give some, or set early_stopping_epochs to 0.")
    hardware = hardware or Hardware()
    module = SegmentationModule.create(network_settings, settings, spec, split)
    if len(classes) == network_settings.classes:
        module.class_names = classes.names
    if initial is not None:
        load_imagenet_weights(module.network.backbone, initial)
    if pretrained is not None:
        fresh = load_pretrained(module.network, pretrained)
        if fresh:
            nearest = nearest_fit(module.network, pretrained)
            on_warning(
                f"not among the given weights, so trained from scratch: {_layers(fresh)}."
                + (f" {nearest}" if nearest else "")
            )
        if unused := unused_layers(module.network, pretrained):
            on_warning(f"given weights without a place in this network: {_layers(unused)}.")
    loader = make_loader(
        training,
        spec,
        batch=settings.batch,
        augmentation=settings.augmentation,
        shuffle=True,
        workers=settings.workers,
        seed=settings.seed,
    )
    checks = make_loader(validation, spec, batch=settings.batch, workers=settings.workers) if validation else None
    extra, best = list(callbacks), None
    if out is not None:
        extra += [TrainingCurve(out), pl_callbacks.LearningRateMonitor("step")]
        if validation:
            best = BestCheckpoints(checkpoints_of(out))
            extra += [best, PredictionGrid(validation, spec, classes)]
        extra.append(LastCheckpoint(checkpoints_of(out)))  # after the best, so that its state includes theirs
    if settings.early_stopping_epochs:
        patience = settings.early_stopping_epochs
        extra.append(pl_callbacks.EarlyStopping("validation_IoU", mode="max", patience=patience))
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # hides notes on hardware and advertisements
    with warnings.catch_warnings():
        # Hides advice on worker counts and log intervals that does not apply to pictures in memory.
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch.optim")
        trainer = pl.Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices or "auto",
            num_nodes=hardware.nodes,
            max_epochs=settings.epochs,
            precision=settings.precision,  # type: ignore[arg-type]  # a string; PRECISIONS are the allowed literals
            gradient_clip_val=5.0,
            logger=TensorBoardLogger(out, "tensorboard", "") if out is not None else False,
            callbacks=extra,
            enable_checkpointing=out is not None,
            enable_progress_bar=any(isinstance(item, pl_callbacks.ProgressBar) for item in extra),
            enable_model_summary=False,
            log_every_n_steps=max(1, min(10, len(loader))),
            num_sanity_val_steps=0,
        )
        # weights_only: no code of a checkpoint is run.
        try:
            trainer.fit(module, loader, checks, ckpt_path=str(resume) if resume else None, weights_only=True)
        except MonitorError as error:
            raise type(error)(plain_message(error)) from error
    if best is not None and best.best_model_path:
        module = load_checkpoint(Path(best.best_model_path))
    return module.network.cpu().eval()


def _layers(names: Sequence[str]) -> str:
    """The layers of these weights; of many, the first four and the number of the others."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    more = f" and {len(layers) - 4} more" if len(layers) > 4 else ""
    return ", ".join(layers[:4]) + more
