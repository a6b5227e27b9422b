"""Training: it learns, repeats, and refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ls_ood_monitor.core.metrics import mean_iou
from ls_ood_monitor.errors import DataError
from ls_ood_monitor.offline.training import (
    LabelledSet,
    TrainingSettings,
    evaluate_segmentation,
    load_initial_weights,
    train_network,
)
from ls_ood_monitor.vision.deeplabv3p import DeepLabV3Plus, NetworkSettings
from ls_ood_monitor.vision.preprocess import PreprocessSpec

SPEC = PreprocessSpec(width=64, height=48)
SMALL = NetworkSettings(classes=3, aspp_channels=16, separable=True, dropblock_size=2, dropblock_prob=0.1)


def stripes(count: int, seed: int = 0) -> LabelledSet:
    """Pictures of three plainly coloured stripes whose class is their colour."""
    random = np.random.default_rng(seed)
    labels = np.repeat(random.integers(0, 3, (count, 3)), 16, axis=1)[:, :, None].repeat(64, axis=2).astype(np.uint8)
    colours = np.array([(200, 40, 40), (40, 200, 40), (40, 40, 200)], np.uint8)
    noise = random.integers(0, 40, (count, 48, 64, 3), dtype=np.uint8)
    return LabelledSet(colours[labels] + noise, labels)


def test_a_short_training_learns_a_plain_task():
    """The loss falls and the colours of unseen pictures are told apart far better than by chance."""
    torch.set_num_threads(1)
    losses = []
    network = train_network(
        stripes(32),
        TrainingSettings(epochs=25, batch=8, learning_rate=5e-3),
        SMALL,
        SPEC,
        progress=lambda _s, _n, loss: losses.append(loss),
    )
    assert len(losses) == 100
    assert np.mean(losses[-4:]) < 0.6 * np.mean(losses[:4])
    assert not network.training
    assert mean_iou(evaluate_segmentation(network, stripes(8, seed=1), SPEC)) > 0.6


def test_a_seed_repeats_a_training():
    """The same seed gives the same weights."""
    settings = TrainingSettings(epochs=1, batch=4, seed=3)
    one, two = (train_network(stripes(8), settings, SMALL, SPEC) for _ in range(2))
    for key, value in one.state_dict().items():
        torch.testing.assert_close(value, two.state_dict()[key])


def test_frozen_stages_keep_weights_and_statistics():
    """A frozen stage ends as it began, BatchNorm included; the others move."""
    settings = TrainingSettings(epochs=1, batch=4, frozen_stages=1)
    torch.manual_seed(settings.seed)
    before = {}
    network = train_network(
        stripes(8), settings, SMALL, SPEC, after_epoch=lambda _e, net: before.update(net.state_dict())
    )
    first = {key: value for key, value in network.state_dict().items() if key.startswith("backbone.stages.0")}
    torch.manual_seed(settings.seed)
    fresh = DeepLabV3Plus(SMALL).state_dict()
    for key, value in first.items():
        torch.testing.assert_close(value, fresh[key])
    assert not torch.equal(network.state_dict()["decoder.1.weight"], fresh["decoder.1.weight"])


def test_ignored_labels_carry_no_loss():
    """Pictures half labelled 255 train on the other half: the loss stays finite."""
    data = stripes(8)
    half = data.labels.copy()
    half[:, :24] = 255
    losses = []
    train_network(
        LabelledSet(data.images, half),
        TrainingSettings(epochs=1, batch=8),
        SMALL,
        SPEC,
        progress=lambda _s, _n, loss: losses.append(loss),
    )
    assert np.isfinite(losses).all()


def test_bad_input_is_refused(tmp_path):
    """Too few pictures for a batch, a missing weight file and a foreign one each have their sentence."""
    with pytest.raises(DataError, match="do not fill one batch of 8"):
        train_network(stripes(4), TrainingSettings(), SMALL, SPEC)
    with pytest.raises(DataError, match="no weight file"):
        load_initial_weights(tmp_path / "nowhere.pth")
    (tmp_path / "foreign.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match="not a plain torch state dict"):
        load_initial_weights(tmp_path / "foreign.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(DataError, match="holds a list"):
        load_initial_weights(tmp_path / "list.pth")
