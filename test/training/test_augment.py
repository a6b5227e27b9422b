"""Augmentation moves picture and labels together and invents no class."""

from __future__ import annotations

import pickle

import pytest
import torch

from ls_ood_monitor.training.augment import AUGMENTATIONS, Augmentation


def _pair():
    labels = torch.zeros(32, 48, dtype=torch.uint8)
    labels[8:20, 4:30] = 3
    labels[20:, 30:] = 255
    image = torch.stack([labels * 40, 100 + labels // 8, labels], dim=-1).to(torch.uint8)
    return image, labels


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_shapes_types_and_classes_are_kept(name):
    """The same size and types, and only ids that were there."""
    torch.manual_seed(0)
    augment = Augmentation(name, 32, 48)
    image, labels = _pair()
    for _ in range(40):
        changed, mask = augment(image, labels)
        assert (changed.shape, changed.dtype) == (image.shape, torch.uint8)
        assert (mask.shape, mask.dtype) == (labels.shape, torch.uint8)
        assert set(mask.unique().tolist()) <= {0, 3, 255}


def test_mirroring_moves_both_and_happens_half_of_the_time():
    """Picture and labels are either both as given or both mirrored, in BGR order."""
    torch.manual_seed(0)
    augment = Augmentation("mirror", 32, 48)
    image, labels = _pair()
    mirrored = 0
    for _ in range(200):
        changed, mask = augment(image, labels)
        flip = not torch.equal(mask, labels)
        assert torch.equal(mask, labels.flip(1) if flip else labels)
        assert torch.equal(changed, image.flip(1) if flip else image)
        mirrored += flip
    assert 70 < mirrored < 130


def test_reference_changes_about_half():
    """One change with probability one half."""
    torch.manual_seed(1)
    augment = Augmentation("reference", 32, 48)
    image, labels = _pair()
    changed = sum(not torch.equal(augment(image, labels)[0], image) for _ in range(300))
    assert 100 < changed < 190


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_reading_processes_get_the_same_augmentation(name):
    """A pickled copy draws what the original draws."""
    augment = Augmentation(name, 32, 48)
    results = []
    for transform in (augment, pickle.loads(pickle.dumps(augment))):
        torch.manual_seed(5)
        results.append([transform(*_pair()) for _ in range(8)])
    for (image, labels), (other_image, other_labels) in zip(*results, strict=True):
        assert torch.equal(image, other_image)
        assert torch.equal(labels, other_labels)


def test_none_changes_nothing():
    """The very same tensors."""
    image, labels = _pair()
    assert Augmentation("none", 32, 48)(image, labels) == (image, labels)
