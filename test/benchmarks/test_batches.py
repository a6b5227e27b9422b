"""The script on cameras judged together: short runs that look at no time."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("onnxruntime")

import batches


def test_every_batch_of_both_engines_is_timed(tmp_path, monkeypatch):
    """To the alarm and with the segmentation, as multiples of one by one."""
    out = tmp_path / "batches.json"
    monkeypatch.setattr("sys.argv", ["batches.py", "--networks", "street", "--repeats", "1", "--json", str(out)])
    batches.main()
    report = json.loads(out.read_text())["networks"]["street"]
    assert set(report) == {"onnx", "eager"}
    for ends in report.values():
        assert set(ends) == {"to the alarm", "with the segmentation"}
        for sizes in ends.values():
            assert set(sizes) == {"1", "2", "4", "8"}
            assert sizes["1"]["of_single"]["median_ms"] == 1.0
            assert all(size["ms"]["median_ms"] > 0.0 for size in sizes.values())


def test_a_network_that_is_none_is_a_sentence(monkeypatch, capsys):
    """With those that there are."""
    monkeypatch.setattr("sys.argv", ["batches.py", "--networks", "lenet"])
    assert batches.exit_code(batches.main) == 2
    assert "--networks names 'lenet'; there are street, " in capsys.readouterr().err
