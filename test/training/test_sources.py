"""Sources of training pictures."""

from __future__ import annotations

import numpy as np

from ls_ood_monitor.street.shots import CAMERA_SIZE
from ls_ood_monitor.training.sources import from_street
from ls_ood_monitor.vision.preprocess import PreprocessSpec, resize_image, resize_labels


def test_street_pictures_to_measure_have_the_size_of_the_camera():
    """Pictures for an evaluation alone have camera size; resized, they equal those of a training run."""
    spec = PreprocessSpec(width=64, height=48)
    counts = {"drives": 1, "validation_drives": 0, "calibration_drives": 1, "check_drives": 1}
    measured = from_street(spec, **counts, only_check=True)
    assert (len(measured.train), len(measured.check_labelled)) == (0, 8)
    trained = from_street(spec, **counts)
    assert len(trained.train) == 8
    width, height = CAMERA_SIZE
    for index in range(8):
        image, labels = measured.check_labelled[index]
        assert image.shape == (height, width, 3)
        np.testing.assert_array_equal(resize_image(image, spec), trained.check_labelled[index][0])
        np.testing.assert_array_equal(resize_labels(labels, 64, 48), trained.check_labelled[index][1])
