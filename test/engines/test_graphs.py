"""Scores that the graph computes are those of the detectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ls_ood_monitor.core.detectors import DEFAULT_DETECTORS, DETECTORS, Detector, detector_spec
from ls_ood_monitor.engines import CELLS, SCORE, DecoderGraph, EncoderGraph, TorchEngine
from ls_ood_monitor.features import FEATURES
from ls_ood_monitor.vision.mc_dropout import averaging_weights


def test_scores_on_the_device_are_those_on_the_host(subject, pictures):
    """All default detectors are portable, and their scores and cells equal those of the features, to rounding."""
    averaging = averaging_weights(subject.bank)
    features = tuple({detector_spec(name).feature for name in DEFAULT_DETECTORS})
    rows = TorchEngine(subject.network, subject.spec, features).begin(pictures, averaging).encoder_rows()
    scored = (
        TorchEngine(subject.network, subject.spec, (), scores=subject.detectors)
        .begin(pictures, averaging)
        .encoder_rows()
    )
    for name, detector in subject.detectors.items():
        own = rows[detector_spec(name).feature]
        np.testing.assert_allclose(scored[f"{SCORE}{name}"], detector.score(own), rtol=1e-9)
        if detector.has_cells:
            np.testing.assert_allclose(scored[f"{CELLS}{name}"], detector.cell_scores(own), rtol=1e-9, atol=1e-9)
    assert set(scored) == {f"{SCORE}{name}" for name in DEFAULT_DETECTORS} | {f"{CELLS}spatial"}


def test_a_broken_picture_has_no_score_on_the_device_either(subject):
    """A feature that is not a number gives a score that is none, in its row alone."""
    for name, detector in subject.detectors.items():
        row = subject.frame_pass("eager", "fp32", (detector_spec(name).feature,)).features_of([subject.picture] * 2)
        values = torch.from_numpy(row.of(detector_spec(name).feature).copy())
        values.reshape(2, -1)[0, 3] = torch.nan
        arrays = {key: torch.from_numpy(np.ascontiguousarray(array)) for key, array in detector.state().items()}
        scores = detector.portable_score(values, arrays)
        assert not bool(scores[0].isfinite())
        assert bool(scores[1].isfinite())


def test_only_a_portable_detector_is_asked():
    """The others say so in words."""
    from ls_ood_monitor.errors import MonitorError

    detector = DETECTORS["knn"].make(None)
    assert isinstance(detector, Detector)
    with pytest.raises(MonitorError, match="is not portable"):
        detector.portable_score(np.zeros((1, 2)), {})


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_the_compiler_takes_each_graph_whole(subject, pictures):
    """Cut in pieces, it would come out slower than it could be, and nobody would know."""
    averaging = averaging_weights(subject.bank)
    with torch.inference_mode():
        encoder = EncoderGraph(subject.network, subject.spec, FEATURES, subject.detectors).eval()
        whole = torch.compile(encoder, dynamic=False, fullgraph=True, backend="eager")
        expected, compiled = (
            encoder(torch.from_numpy(pictures), averaging),
            whole(torch.from_numpy(pictures), averaging),
        )
        decoder = DecoderGraph(subject.network, subject.spec, FEATURES).eval()
        decoded = torch.compile(decoder, dynamic=False, fullgraph=True, backend="eager")(*compiled[:2], averaging)
        eager = (*expected, *decoder(*expected[:2], averaging))
        for value, wanted in zip((*compiled, *decoded), eager, strict=True):
            torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-4)
