"""An engine that gives something else is found out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ls_ood_monitor import bundle
from ls_ood_monitor.bundle import export_bundle, load_bundle
from ls_ood_monitor.engines import Planes, TorchEngine
from ls_ood_monitor.engines.verification import measure_difference
from ls_ood_monitor.errors import BundleError
from ls_ood_monitor.vision.mc_dropout import averaging_weights


class Altered:
    """An engine whose features are multiplied and whose classes are shifted in some rows of pixels."""

    name, precision, reentrant = "altered", "fp32", True

    def __init__(self, engine, factor: float, rows: int) -> None:
        self._engine, self._factor, self._rows = engine, factor, rows

    def begin(self, pixels, averaging, *, decode=True):
        """Alter a run."""
        self._run = self._engine.begin(pixels, averaging)
        return self

    def rows(self):
        """Features, altered."""
        return {name: values * self._factor for name, values in self._run.rows().items()}

    def planes(self) -> Planes:
        """Classes, altered."""
        planes = self._run.planes()
        class_ids = planes.class_ids.copy()
        class_ids[:, : self._rows] += 1
        return replace(planes, class_ids=class_ids)


@pytest.mark.parametrize(
    ("factor", "rows", "score", "classes"), [(1.0, 0, 0.0, 0.0), (1.01, 0, 0.01, 0.0), (1.0, 24, 0.0, 0.25)]
)
def test_the_difference_is_the_one_that_was_put_in(subject, factor, rows, score, classes):
    """One per cent of every score, a quarter of the pixels; NaN on one side alone is infinite, on both nothing."""
    plain = TorchEngine(subject.network, subject.spec, ("latent_means",))
    altered = Altered(plain, factor, rows)
    averaging = averaging_weights(subject.bank)

    def means(features):
        return {"mean": np.abs(features["latent_means"]).mean(axis=1)}

    found = measure_difference(altered, plain, subject.spec, averaging, means, {"mean": 0.0})
    assert found.score == pytest.approx(score, rel=1e-6)
    assert found.class_ids == pytest.approx(classes)
    broken = measure_difference(Altered(plain, np.nan, 0), plain, subject.spec, averaging, means, {"mean": 0.0})
    assert broken.score == np.inf
    both = measure_difference(
        Altered(plain, np.nan, 0), Altered(plain, np.nan, 0), subject.spec, averaging, means, {"mean": 0.0}
    )
    assert both.score == 0.0


def test_an_exported_bundle_runs_and_an_altered_network_is_refused(tiny_bundle, tmp_path, monkeypatch):
    """Export adds two verified files; graphs of other weights than the network's are refused at load, with the difference."""
    import shutil

    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, folder)
    identity = export_bundle(folder)
    monitor = load_bundle(folder, device="cpu")
    assert monitor.bundle_id == identity == bundle.verify_bundle(folder).bundle_id
    assert monitor.frame_pass.engine.name == "onnx"
    assert monitor.difference is not None
    assert monitor.difference.score < 1e-3
    assert load_bundle(folder, device="cpu", engine="eager").difference is None

    original = bundle.load_tensors

    def other_weights(content):
        tensors = original(content)
        name = next(key for key, value in tensors.items() if value.dim() == 4)
        return {**tensors, name: tensors[name] * 1.05}

    monkeypatch.setattr(bundle, "load_tensors", other_weights)
    with pytest.raises(BundleError, match="does not give what eager torch gives: scores differ"):
        load_bundle(folder, device="cpu", engine="onnx")


def test_a_graph_is_verified_as_every_file_of_the_bundle(tiny_bundle, tmp_path):
    """One altered byte of an exported graph is refused before it is parsed."""
    import shutil

    pytest.importorskip("onnxscript")
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, folder)
    export_bundle(folder)
    path = folder / "encoder.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(BundleError, match=r"encoder\.onnx does not match the SHA-256"):
        load_bundle(folder, device="cpu")
