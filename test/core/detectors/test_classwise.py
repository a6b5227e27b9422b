"""DDU on predicted classes, against pytorch-ood's class-conditional Gaussians."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_ood.detector import GMM
from sklearn.decomposition import PCA

from ls_ood_monitor.core.detectors.classwise import ClasswiseDetector
from ls_ood_monitor.errors import MonitorError


def class_rows(count: int, classes: int = 3, width: int = 6, seed: int = 0) -> np.ndarray:
    """(count, classes, width + 1): latents around a centre a class, shares that sum to 1, the last class in every other frame."""
    random = np.random.default_rng(seed)
    centres = 3.0 * np.random.default_rng(99).normal(size=(classes, width))
    latents = centres + random.normal(size=(count, classes, width))
    shares = random.uniform(0.2, 1.0, size=(count, classes))
    shares[1::2, -1] = 0.0
    latents[shares == 0.0] = 0.0
    return np.concatenate([latents, (shares / shares.sum(axis=1, keepdims=True))[:, :, None]], axis=2)


def test_scores_equal_pytorch_oods_gaussians_weighted_by_share():
    """With empirical covariances: the share-weighted mean over a frame's classes of pytorch-ood's negative log density."""
    rows, fresh = class_rows(200), class_rows(20, seed=1)
    detector = ClasswiseDetector(components=4, shrinkage="empirical").fit(rows)
    seen = rows[:, :, -1] > 0.0
    latents, labels = rows[:, :, :-1][seen], np.broadcast_to(np.arange(3), seen.shape)[seen]
    # Grouped by class, as the detector stacks them: the randomised projection sees the same rows in the same order.
    order = np.argsort(labels, kind="stable")
    pca = PCA(4, whiten=True, svd_solver="randomized", random_state=0).fit(latents[order])
    model = GMM(None, reg=1e-6).fit_features(torch.from_numpy(pca.transform(latents)), torch.from_numpy(labels.copy()))
    flat = torch.from_numpy(pca.transform(fresh[:, :, :-1].reshape(-1, 6)))
    each = model.predict_features(flat).numpy().reshape(20, 3)
    np.testing.assert_allclose(detector.score(fresh), (each * fresh[:, :, -1]).sum(axis=1), rtol=1e-7)


def test_an_odd_class_counts_by_its_share():
    """A frame whose road lies elsewhere scores the higher, the more of it is road."""
    detector = ClasswiseDetector().fit(class_rows(300))
    frames = np.repeat(class_rows(1, seed=2), 3, axis=0)
    frames[:, 0, :-1] += 10.0
    frames[:, :, -1] = [[0.1, 0.9, 0.0], [0.4, 0.6, 0.0], [0.8, 0.2, 0.0]]
    assert (np.diff(detector.score(frames)) > 0.0).all()


def test_a_class_that_is_not_there_has_no_say():
    """What stands in the latents of a class with share 0 changes nothing."""
    detector, frames = ClasswiseDetector().fit(class_rows(100)), class_rows(4, seed=3)
    changed = frames.copy()
    changed[1, -1, :-1] = 1e3
    assert frames[1, -1, -1] == 0.0
    np.testing.assert_array_equal(detector.score(frames), detector.score(changed))


def test_rare_classes_get_no_gaussian_and_nothing_is_refused():
    """A class in fewer than ten clean frames has none; where no class has ten frames fitting is refused."""
    rows = class_rows(18)
    assert ClasswiseDetector().fit(rows).state()["means"].shape[0] == 2
    with pytest.raises(MonitorError, match="at least 10 of the 9 clean frames"):
        ClasswiseDetector().fit(rows[:9])
