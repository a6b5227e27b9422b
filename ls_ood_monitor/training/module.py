"""The network as a LightningModule: steps, metrics, optimiser. Its checkpoint holds all that is needed to rebuild it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ..config import from_mapping
from ..datasets.labelled import IGNORE_LABEL
from ..vision import torchvision_compat as _compat  # noqa: F401  torchmetrics imports torchvision where it finds it
from ..vision.deeplabv3p import DeepLabV3Plus, NetworkSettings
from ..vision.preprocess import PreprocessSpec, normalise
from .losses import kl_weight, segmentation_loss
from .schedule import rate_factor
from .settings import TrainingSettings

import pytorch_lightning as pl  # isort: skip
from pytorch_lightning.utilities.types import OptimizerLRScheduler  # isort: skip
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix  # isort: skip

_MOMENTUM = 0.9


class SegmentationModule(pl.LightningModule):
    """DeepLabv3+ under training. Logs train_loss, validation_loss, validation_accuracy, validation_IoU (mean) and lr.

    Settings are mappings, because a checkpoint stores plain data. ``split`` is the digest of the data set's split;
    empty without one.
    """

    def __init__(
        self, network: dict[str, Any], training: dict[str, Any], preprocess: dict[str, Any], split: str = ""
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.training_settings = from_mapping(TrainingSettings, training)
        self.spec = from_mapping(PreprocessSpec, preprocess)
        self.split = split
        self.network = DeepLabV3Plus(from_mapping(NetworkSettings, network))
        classes = self.network.settings.classes
        #: Names of the classes in the log.
        self.class_names = tuple(f"class_{index}" for index in range(classes))
        self.validation_confusion = MulticlassConfusionMatrix(classes, ignore_index=IGNORE_LABEL)
        self.validation_accuracy = MulticlassAccuracy(classes, average="micro", ignore_index=IGNORE_LABEL)
        for stage in self._frozen_stages():
            stage.requires_grad_(False)

    @classmethod
    def create(
        cls, network: NetworkSettings, training: TrainingSettings, preprocess: PreprocessSpec, split: str = ""
    ) -> SegmentationModule:
        """From checked settings, seeded."""
        pl.seed_everything(training.seed, verbose=False)
        spec = {**asdict(preprocess), "mean": list(preprocess.mean), "std": list(preprocess.std)}
        return cls(asdict(network), asdict(training), spec, split)

    def _frozen_stages(self) -> list[torch.nn.Module]:
        return list(self.network.backbone.stages[: self.training_settings.frozen_stages])

    def on_train_epoch_start(self) -> None:
        """Back to train mode after validation; frozen stages keep their BatchNorm statistics, too."""
        self.network.train()
        for stage in self._frozen_stages():
            stage.eval()

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Loss of a batch: segmentation, plus the KL of a variational layer with its weight for this batch."""
        pictures, labels = batch
        logits = self.network(normalise(pictures, self.spec))
        loss = segmentation_loss(self.training_settings.loss, logits, labels)
        if self.network.settings.variational:
            batches = int(self.trainer.num_training_batches)
            # The loss is a mean over pixels, so the KL is divided by their number (the reference adds it whole).
            divergence = kl_weight(index, batches) * self.network.kl_divergence() / labels.numel()
            self.log("train_kl", divergence.detach(), batch_size=len(labels))
            loss = loss + divergence
        self.log("train_loss", loss.detach(), prog_bar=True, batch_size=len(labels))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Collect the metrics of a batch."""
        pictures, labels = batch
        logits = self.network(normalise(pictures, self.spec))
        loss = segmentation_loss(self.training_settings.loss, logits, labels)
        self.log("validation_loss", loss, batch_size=len(labels), sync_dist=True)
        predicted = logits.argmax(dim=1)
        self.validation_confusion.update(predicted, labels)
        self.validation_accuracy.update(predicted, labels)

    def on_validation_epoch_end(self) -> None:
        """Log the mean IoU over the classes that occur, and each class's own."""
        matrix = self.validation_confusion.compute()  # of all processes of a distributed run
        hits = matrix.diagonal()
        union = matrix.sum(dim=0) + matrix.sum(dim=1) - hits
        occurs = union > 0
        iou = hits / union.clamp(min=1)
        for index in occurs.nonzero().flatten().tolist():
            self.log(f"IoU/{self.class_names[index]}", iou[index])
        mean = iou[occurs].mean() if bool(occurs.any()) else iou.new_zeros(())
        self.log("validation_IoU", mean, prog_bar=True)
        self.log("validation_accuracy", self.validation_accuracy.compute())
        self.validation_confusion.reset()
        self.validation_accuracy.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Optimiser and learning-rate schedule; the schedule ends at the last step of the run."""
        chosen = self.training_settings
        backbone = [weight for weight in self.network.backbone.parameters() if weight.requires_grad]
        head = [weight for name, weight in self.network.named_parameters() if not name.startswith("backbone.")]
        rate = chosen.learning_rate
        groups = [{"params": backbone, "lr": rate * chosen.backbone_rate}, {"params": head, "lr": rate}]
        if chosen.optimiser == "sgd":
            optimiser: torch.optim.Optimizer = torch.optim.SGD(
                groups, momentum=_MOMENTUM, weight_decay=chosen.weight_decay
            )
        else:
            optimiser = torch.optim.AdamW(groups, weight_decay=chosen.weight_decay)
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate_factor(chosen.schedule, step / steps))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
