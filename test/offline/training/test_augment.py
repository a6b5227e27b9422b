"""Augmentation moves picture and labels together and invents no class."""

from __future__ import annotations

import pytest
import torch

from ls_ood_monitor.offline.training.augment import AUGMENTATIONS, make_augmentation


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
    augment = make_augmentation(name, 32, 48)
    image, labels = _pair()
    for _ in range(40):
        changed, mask = augment(image, labels)
        assert (changed.shape, changed.dtype) == (image.shape, torch.uint8)
        assert (mask.shape, mask.dtype) == (labels.shape, torch.uint8)
        assert set(mask.unique().tolist()) <= {0, 3, 255}


def test_mirroring_moves_both_and_happens_half_of_the_time():
    """Picture and labels are either both as given or both mirrored, in BGR order."""
    torch.manual_seed(0)
    augment = make_augmentation("mirror", 32, 48)
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
    augment = make_augmentation("reference", 32, 48)
    image, labels = _pair()
    changed = sum(not torch.equal(augment(image, labels)[0], image) for _ in range(300))
    assert 100 < changed < 190


def test_none_changes_nothing():
    """The very same tensors."""
    image, labels = _pair()
    assert make_augmentation("none", 32, 48)(image, labels) == (image, labels)
