"""Training runs: learning, repeatability, resuming, early stopping, errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

import ls_ood_monitor.vision.torchvision_compat  # noqa: F401  before torchmetrics, which imports torchvision

pl = pytest.importorskip("pytorch_lightning")

from ls_ood_monitor.datasets import ClassTable
from ls_ood_monitor.errors import ConfigError, DataError
from ls_ood_monitor.training.checkpoints import load_checkpoint, require_same_run
from ls_ood_monitor.training.data import LabelledSet
from ls_ood_monitor.training.evaluation import evaluate_segmentation
from ls_ood_monitor.training.fit import Hardware, train_network
from ls_ood_monitor.training.module import SegmentationModule
from ls_ood_monitor.training.settings import TrainingSettings, reference_settings
from ls_ood_monitor.training.weights import load_initial_weights, load_pretrained
from ls_ood_monitor.vision.deeplabv3p import DeepLabV3Plus, NetworkSettings
from ls_ood_monitor.vision.preprocess import PreprocessSpec

SPEC = PreprocessSpec(width=64, height=48)
SMALL = NetworkSettings(classes=3, aspp_channels=16, separable=True, dropblock_size=2, dropblock_prob=0.1)
CPU = Hardware("cpu", 1)


def stripes(count: int, seed: int = 0) -> LabelledSet:
    """Pictures of three plainly coloured stripes whose class is their colour."""
    random = np.random.default_rng(seed)
    labels = np.repeat(random.integers(0, 3, (count, 3)), 16, axis=1)[:, :, None].repeat(64, axis=2).astype(np.uint8)
    colours = np.array([(200, 40, 40), (40, 200, 40), (40, 40, 200)], np.uint8)
    noise = random.integers(0, 40, (count, 48, 64, 3), dtype=np.uint8)
    return LabelledSet(colours[labels] + noise, labels)


class Losses(pl.Callback):
    """Collects what a user would see in the log."""

    def __init__(self):
        self.losses, self.rates = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(float(outputs["loss"]))
        self.rates.append(trainer.optimizers[0].param_groups[1]["lr"])


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def test_a_short_training_learns_a_plain_task():
    """The loss falls, and unseen pictures are segmented far better than by chance."""
    seen = Losses()
    settings = TrainingSettings(epochs=25, batch=8, learning_rate=5e-3)
    network = train_network(stripes(32), None, settings, SMALL, SPEC, hardware=CPU, callbacks=[seen])
    assert len(seen.losses) == 100
    assert np.mean(seen.losses[-4:]) < 0.6 * np.mean(seen.losses[:4])
    assert not network.training
    assert evaluate_segmentation(network, stripes(8, seed=1), SPEC).miou > 0.6


def test_mixed_precision_learns():
    """In bf16-mixed the network computes in bfloat16, its weights stay float32, and the loss falls."""

    class Computed(pl.Callback):
        dtypes: ClassVar[set[torch.dtype]] = set()

        def on_train_start(self, trainer, pl_module):
            first = next(module for module in pl_module.network.modules() if isinstance(module, torch.nn.Conv2d))
            first.register_forward_hook(lambda _module, _inputs, output: self.dtypes.add(output.dtype))

    seen = Losses()
    settings = TrainingSettings(epochs=4, batch=4, learning_rate=5e-3, precision="bf16-mixed")
    network = train_network(stripes(16), None, settings, SMALL, SPEC, hardware=CPU, callbacks=[Computed(), seen])
    assert Computed.dtypes == {torch.bfloat16}
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    assert np.mean(seen.losses[-4:]) < np.mean(seen.losses[:4])


def test_a_seed_repeats_a_training():
    """The same seed gives the same weights."""
    settings = TrainingSettings(epochs=1, batch=4, seed=3)
    first, second = (train_network(stripes(8), None, settings, SMALL, SPEC, hardware=CPU) for _ in range(2))
    for key, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[key])


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "poly"])
def test_the_learning_rate_really_decays(schedule):
    """Every schedule ends far below its peak (the reference's cosine was a constant)."""
    seen = Losses()
    settings = TrainingSettings(epochs=5, batch=4, schedule=schedule, optimiser="sgd", learning_rate=1e-3)
    train_network(stripes(16), None, settings, SMALL, SPEC, hardware=CPU, callbacks=[seen])
    assert max(seen.rates) <= 1e-3 * 1.0001
    assert seen.rates[-1] < 0.15 * max(seen.rates)


def test_batch_of_one_and_variational_layer():
    """Batch 1 trains (ASPP's pooling branch has one value a channel), also with the KL term."""
    settings = reference_settings("deeplabv3p-variational-layer", batch=1, loss="focal_loss")
    network_settings = NetworkSettings(
        classes=3, aspp_channels=16, separable=True, dropblock_prob=0.0, variational=True
    )
    seen = Losses()
    train_network(stripes(3), None, settings, network_settings, SPEC, hardware=CPU, callbacks=[seen])
    assert len(seen.losses) == 3
    assert np.isfinite(seen.losses).all()


def test_frozen_stages_keep_weights_and_statistics():
    """A frozen stage keeps weights and BatchNorm statistics, also after a validation; the others change."""
    start = DeepLabV3Plus(SMALL).state_dict()
    settings = TrainingSettings(epochs=2, batch=4, frozen_stages=1)
    network = train_network(
        stripes(8), stripes(4, 1), settings, SMALL, SPEC, hardware=CPU, pretrained=start
    ).state_dict()
    for key in (key for key in start if key.startswith("backbone.stages.0")):
        torch.testing.assert_close(network[key], start[key])
    assert not torch.equal(network["decoder.1.weight"], start["decoder.1.weight"])


def test_checkpoints_logs_and_resume(tmp_path):
    """A run writes the best three and last checkpoints and a log; a resumed run does the remaining epochs."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    data, checks = stripes(8), stripes(4, 1)
    # A constant rate: the others would depend on the planned number of epochs.
    full = TrainingSettings(epochs=4, batch=4, schedule="constant", augmentation="none")
    half = TrainingSettings(epochs=2, batch=4, schedule="constant", augmentation="none")
    names = ClassTable(("red", "green", "blue"), np.eye(3, dtype=np.uint8) * 255)
    train_network(data, checks, full, SMALL, SPEC, out=tmp_path / "full", hardware=CPU, classes=names)
    train_network(data, checks, half, SMALL, SPEC, out=tmp_path / "half", hardware=CPU)
    kept = sorted(path.name for path in (tmp_path / "full" / "checkpoints").glob("*.ckpt"))
    assert len(kept) == 5
    assert {"last.ckpt", "best.ckpt"} <= set(kept)
    log = EventAccumulator(str(tmp_path / "full" / "tensorboard"), size_guidance={"images": 0})
    log.Reload()
    assert "validation/pictures" in log.Tags()["images"]
    assert {"train_loss", "validation_IoU", "validation_loss", "validation_accuracy"} <= set(log.Tags()["scalars"])
    assert {"IoU/red", "IoU/green", "IoU/blue"} <= set(log.Tags()["scalars"])
    last = tmp_path / "half" / "checkpoints" / "last.ckpt"
    seen = Losses()
    train_network(data, checks, full, SMALL, SPEC, out=tmp_path / "more", hardware=CPU, resume=last, callbacks=[seen])
    assert len(seen.losses) == 4  # two of the four epochs were done
    module = load_checkpoint(tmp_path / "more" / "checkpoints" / "last.ckpt")
    assert module.network.settings == SMALL
    assert module.spec == SPEC


def test_the_last_epoch_is_kept_though_it_is_not_among_the_best(tmp_path):
    """With equal scores the first three epochs stay the best, and ``last.ckpt`` is still the last epoch."""
    checks = stripes(4, 1)
    blind = LabelledSet(checks.images, np.full_like(checks.labels, 255))
    train_network(stripes(8), blind, TrainingSettings(epochs=5), SMALL, SPEC, out=tmp_path, hardware=CPU)
    folder = tmp_path / "checkpoints"
    content = torch.load(folder / "last.ckpt", weights_only=True)
    assert content["epoch"] == 4
    scores = next(state for key, state in content["callbacks"].items() if key.startswith("BestCheckpoints"))
    assert (folder / "best.ckpt").resolve() == Path(scores["best_model_path"])
    assert {path.name for path in folder.glob("epoch=*")} == {"epoch=000.ckpt", "epoch=001.ckpt", "epoch=002.ckpt"}


def test_a_run_that_was_moved_keeps_its_best(tmp_path):
    """Resumed in a moved folder, a finished run returns its best network, and a longer one still knows its best."""
    settings = TrainingSettings(epochs=2, batch=8, learning_rate=5e-3, schedule="constant")
    data, checks = stripes(8), stripes(4, 1)
    first = train_network(data, checks, settings, SMALL, SPEC, out=tmp_path / "a", hardware=CPU).state_dict()
    (tmp_path / "a").rename(tmp_path / "b")
    last = tmp_path / "b" / "checkpoints" / "last.ckpt"
    again = train_network(
        data, checks, settings, SMALL, SPEC, out=tmp_path / "b", hardware=CPU, resume=last
    ).state_dict()
    assert all(torch.equal(value, first[name]) for name, value in again.items())
    longer = replace(settings, epochs=5)
    train_network(data, checks, longer, SMALL, SPEC, out=tmp_path / "b", hardware=CPU, resume=last)
    assert len(list(last.parent.glob("epoch=*.ckpt"))) == 3
    assert len(list(last.parent.glob("last*"))) == 1


def test_a_resumed_run_keeps_its_settings():
    """A resumed run may change its length and speed; other changed settings are refused by name."""
    settings = TrainingSettings(epochs=1)
    module = SegmentationModule.create(SMALL, settings, SPEC)
    require_same_run(module, SMALL, replace(settings, epochs=5, workers=2, seed=7), SPEC)
    with pytest.raises(
        ConfigError, match=r"has backbone mobilenet_v2 instead of resnet18, optimiser adamw instead of sgd"
    ):
        require_same_run(module, replace(SMALL, backbone="resnet18"), replace(settings, optimiser="sgd"), SPEC)
    with pytest.raises(ConfigError, match=r"has height 48 instead of 64;"):
        require_same_run(module, SMALL, settings, replace(SPEC, height=64))


def test_early_stopping_ends_a_run():
    """Without progress the run ends after its patience."""
    seen = Losses()
    settings = TrainingSettings(epochs=30, batch=8, learning_rate=1e-7, early_stopping_epochs=2)
    train_network(stripes(8), stripes(4, 1), settings, SMALL, SPEC, hardware=CPU, callbacks=[seen])
    assert len(seen.losses) < 15


def test_ignored_labels_carry_no_loss():
    """The loss stays finite when half of each picture is ignored."""
    data = stripes(8)
    half = data.labels.copy()
    half[:, :24] = 255
    seen = Losses()
    settings = TrainingSettings(epochs=1, batch=8)
    train_network(LabelledSet(data.images, half), None, settings, SMALL, SPEC, hardware=CPU, callbacks=[seen])
    assert np.isfinite(seen.losses).all()


def test_fine_tuning_starts_from_given_weights():
    """Fitting weights are copied; a last layer with another number of classes stays fresh and is named."""
    source = DeepLabV3Plus(SMALL)
    other = DeepLabV3Plus(
        NetworkSettings(classes=5, aspp_channels=16, separable=True, dropblock_size=2, dropblock_prob=0.1)
    )
    fresh = load_pretrained(other, source.state_dict())
    assert fresh == ["decoder.1.bias", "decoder.1.weight"]
    torch.testing.assert_close(other.state_dict()["decoder.0.0.0.weight"], source.state_dict()["decoder.0.0.0.weight"])


def test_weights_of_another_backbone_are_refused():
    """Weights that lack a part of the backbone are refused, and the network stays unchanged."""
    network = DeepLabV3Plus(SMALL)
    other = DeepLabV3Plus(NetworkSettings(backbone="resnet18", classes=3, aspp_channels=16, separable=True))
    half = {key: value for key, value in network.state_dict().items() if not key.startswith("backbone.stages.3")}
    for state in (other.state_dict(), half, {"fc.weight": torch.zeros(2, 2)}):
        before = {key: value.clone() for key, value in network.state_dict().items()}
        with pytest.raises(ConfigError, match="another architecture"):
            load_pretrained(network, state)
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_layers_without_given_weights_are_named():
    """One warning names the layers that the given weights lack."""
    state = DeepLabV3Plus(SMALL).state_dict()
    partial = {key: value for key, value in state.items() if not key.startswith(("decoder", "low_level"))}
    warnings = []
    settings = TrainingSettings(epochs=1, batch=4)
    for given in (state, partial):
        train_network(
            stripes(4), None, settings, SMALL, SPEC, hardware=CPU, pretrained=given, on_warning=warnings.append
        )
    assert len(warnings) == 1
    assert warnings[0].startswith("not among the given weights, so trained from scratch: decoder.0.0")


def test_bad_input_is_refused(tmp_path):
    """Too few pictures, missing or foreign files and early stopping without validation are refused."""
    with pytest.raises(DataError, match="do not fill one batch of 8"):
        train_network(stripes(4), None, TrainingSettings(), SMALL, SPEC)
    with pytest.raises(ConfigError, match="needs validation pictures"):
        train_network(stripes(8), None, TrainingSettings(early_stopping_epochs=1), SMALL, SPEC)
    with pytest.raises(DataError, match="no weight file"):
        load_initial_weights(tmp_path / "nowhere.pth")
    (tmp_path / "foreign.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match="not a plain torch state dict"):
        load_initial_weights(tmp_path / "foreign.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(DataError, match="holds a list"):
        load_initial_weights(tmp_path / "list.pth")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "plain.ckpt")
    with pytest.raises(DataError, match="not a checkpoint of this version"):
        load_checkpoint(tmp_path / "plain.ckpt")


def test_the_curve_has_a_row_an_epoch_also_after_a_resume(tmp_path):
    """After a resume the curve continues, with the losses and IoU of the log."""
    pictures, checks = stripes(16), stripes(8, seed=1)
    settings = TrainingSettings(epochs=2, batch=8, learning_rate=5e-3)
    train_network(pictures, checks, settings, SMALL, SPEC, out=tmp_path, hardware=CPU)
    longer = TrainingSettings(epochs=4, batch=8, learning_rate=5e-3)
    seen = Losses()
    train_network(
        pictures,
        checks,
        longer,
        SMALL,
        SPEC,
        out=tmp_path,
        resume=tmp_path / "checkpoints" / "last.ckpt",
        hardware=CPU,
        callbacks=[seen],
    )
    table = np.genfromtxt(tmp_path / "curve.csv", delimiter=",", names=True)
    assert table["epoch"].tolist() == [1, 2, 3, 4]
    assert np.isfinite(table["validation_IoU"]).all()
    np.testing.assert_allclose(table["train_loss"][2:], np.reshape(seen.losses, (2, 2)).mean(axis=1), rtol=1e-4)
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    key = next(key for key in last["callbacks"] if key.startswith("BestCheckpoints"))
    assert float(last["callbacks"][key]["current_score"]) == pytest.approx(table["validation_IoU"][3], rel=1e-4)
    assert (tmp_path / "curve.png").stat().st_size > 5000
