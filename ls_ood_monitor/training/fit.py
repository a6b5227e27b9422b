"""One training run: Trainer, checkpoints, pictures for TensorBoard, and the trained network."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from ..datasets.labelled import ClassTable
from ..datasets.woodscape import SEMANTIC as WOODSCAPE_CLASSES
from ..errors import ConfigError, DataError, MonitorError
from ..vision.backbones import load_imagenet_weights, require_backbone
from ..vision.deeplabv3p import DeepLabV3Plus, NetworkSettings
from ..vision.foreign_weights import network_weights
from ..vision.preprocess import PreprocessSpec
from .checkpoints import BestCheckpoints, LastCheckpoint, checkpoints_of, require_fresh
from .curve import TrainingCurve
from .data import LabelledPictures, make_loader, sentence_of
from .module import SegmentationModule
from .pictures import PictureGrid
from .settings import TrainingSettings

import pytorch_lightning as pl  # isort: skip  after module, which guards torchvision
from pytorch_lightning import callbacks as pl_callbacks  # isort: skip
from pytorch_lightning.loggers import TensorBoardLogger  # isort: skip

_BACKBONE = "backbone."
#: Settings that a resumed run may have other than before: none of them shapes what the checkpoint holds.
_MAY_DIFFER = ("epochs", "early_stopping_epochs", "workers", "precision", "seed")


@dataclass(frozen=True)
class Hardware:
    """Where to train.

    Attributes:
        accelerator: auto, cpu or gpu.
        devices: number of devices of a node; 0 = all.
        nodes: number of machines (SLURM sets up the rest).
    """

    accelerator: str = "auto"
    devices: int = 0
    nodes: int = 1


def load_initial_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a torchvision state dict (.pth) without running any code in it.

    Raises:
        DataError: missing file, or not a plain dictionary of tensors.
    """
    state = _load(path, "torchvision's ImageNet file of the backbone")
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise DataError(f"{path} holds a {type(state).__name__}, not a dictionary of tensors.")
    return state


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """Weights of a whole network: a checkpoint of ``train_network`` or a plain state dict.

    Raises:
        DataError: missing file, or neither of the two.
    """
    content = _load(path, "a checkpoint or a state dict of the network")
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise DataError(f"{path} holds no weights by name; give a checkpoint or a state dict of the network.")
    return state


def load_checkpoint(path: Path) -> SegmentationModule:
    """Rebuild a training module from a checkpoint that ``fit`` wrote, without running any code in it.

    Raises:
        DataError: missing file, or not such a checkpoint.
    """
    content = _load(path, "a checkpoint that 'ls-ood train' wrote")
    try:
        module = SegmentationModule(**content["hyper_parameters"])
        module.load_state_dict(content["state_dict"])
    except (KeyError, TypeError, RuntimeError, ConfigError) as error:
        raise DataError(f"{path} is not a checkpoint of this version's training ({error}).") from error
    return module


def require_same_run(
    checkpoint: SegmentationModule, network: NetworkSettings, training: TrainingSettings, spec: PreprocessSpec
) -> None:
    """Refuse to resume ``checkpoint`` with other settings than its own; ``_MAY_DIFFER`` names those that may change.

    Raises:
        ConfigError: some differ; each is named with both values.
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


def _load(path: Path, wanted: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"there is no weight file {path}; give {wanted}.") from error
    except Exception as error:  # torch raises pickle, runtime and key errors alike for a foreign file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} is not a plain torch state dict ({reason}); give {wanted}.") from error


def load_pretrained(network: DeepLabV3Plus, state: dict[str, torch.Tensor]) -> list[str]:
    """Copy the whole backbone and, of the rest, every weight whose name and shape fit (else the layer stays fresh).

    Names may be those of torchvision's DeepLabv3 (backbone and ASPP fit) or of the reference's DeepLabv3+ (all do).

    Returns:
        Names of the network's weights that were not in ``state`` or had another shape.

    Raises:
        ConfigError: the backbone is not, or not all, in ``state``: training would go on from random weights unnoticed.
    """
    own = network.state_dict()
    given = network_weights({key.removeprefix("network."): value for key, value in state.items()})
    encoder = {key.removeprefix(_BACKBONE): value for key, value in given.items() if key.startswith(_BACKBONE)}
    require_backbone(network.backbone, encoder)
    fitting = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
    network.load_state_dict(fitting, strict=False)
    return sorted(set(own) - set(fitting))


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
    note: Callable[[str], None] = lambda sentence: None,
) -> DeepLabV3Plus:
    """Train and return the network in eval mode: the best validation mIoU with ``out``, else the last state.

    Args:
        training: pictures to learn from.
        validation: pictures of other drives, measured after every epoch; None = no validation.
        settings: optimisation.
        network_settings: architecture.
        spec: preprocessing.
        out: folder for checkpoints (best three, last, and ``best.ckpt``) and TensorBoard logs; None writes nothing.
        initial: ImageNet weights of the backbone (torchvision keys).
        pretrained: weights of a whole network to go on from (fine tuning).
        resume: checkpoint of an interrupted run with the same settings.
        split: digest of the split that the pictures come from, for the checkpoints.
        hardware: devices.
        classes: colours of the pictures and names of the curves on TensorBoard.
        callbacks: further Lightning callbacks (progress).
        note: told in a sentence what a person should know.

    Raises:
        DataError: no pictures, fewer than a batch, or one that cannot be read.
        ConfigError: a folder with another run; weights of another architecture; early stopping without validation.
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
        layers = list(dict.fromkeys(name.rpartition(".")[0] for name in fresh))
        if layers:
            more = f" and {len(layers) - 4} more" if len(layers) > 4 else ""
            note(f"not among the given weights, so trained from scratch: {', '.join(layers[:4])}{more}.")
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
            extra += [best, PictureGrid(validation, spec, classes)]
        extra.append(LastCheckpoint(checkpoints_of(out)))  # after the best, so that it knows them
    if settings.early_stopping_epochs:
        patience = settings.early_stopping_epochs
        extra.append(pl_callbacks.EarlyStopping("validation_IoU", mode="max", patience=patience))
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # notes on hardware and on other products
    with warnings.catch_warnings():
        # Advice on worker counts and log intervals for other programs' defaults; pictures may be in memory already.
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch.optim")
        trainer = pl.Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices or "auto",
            num_nodes=hardware.nodes,
            max_epochs=settings.epochs,
            precision=settings.precision,  # type: ignore[arg-type]
            gradient_clip_val=5.0,
            logger=TensorBoardLogger(out, "tensorboard", "") if out is not None else False,
            callbacks=extra,
            enable_checkpointing=out is not None,
            enable_progress_bar=any(isinstance(item, pl_callbacks.ProgressBar) for item in extra),
            enable_model_summary=False,
            log_every_n_steps=max(1, min(10, len(loader))),
            num_sanity_val_steps=0,
        )
        # weights_only: a checkpoint to resume from is data, too.
        try:
            trainer.fit(module, loader, checks, ckpt_path=str(resume) if resume else None, weights_only=True)
        except MonitorError as error:
            raise type(error)(sentence_of(error)) from error
    if best is not None and best.best_model_path:
        module = load_checkpoint(Path(best.best_model_path))
    return module.network.cpu().eval()
