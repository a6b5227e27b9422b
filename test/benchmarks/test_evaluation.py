"""The cost of an evaluation: its table can be read on a terminal."""

from __future__ import annotations

import cv2
import pytest

pytest.importorskip("torch")

import evaluation


def test_the_table_fits_eighty_columns(capsys):
    """Every stage by its whole name, with a figure for each kind of pictures."""
    figures = {"frames": 30, "frames_per_s": 12.3, "frames_per_s_all_cores": 23.4}
    shares = dict(zip(evaluation.STAGES, (0.01, 0.02, 0.03, 0.9, 0.04), strict=True))
    evaluation.print_speed({"raw": {**figures, **shares}, "jpeg": {**figures, **shares}}, width=80)
    text = capsys.readouterr().out
    for name, value in {"one thread": "12.3", "all cores": "23.4", "decoding": "2.0%", "network": "90.0%"}.items():
        line = next(line for line in text.splitlines() if name in line)
        assert line.count(value) == 2
    assert "…" not in text


def test_growth_is_drawn_from_nothing(tmp_path):
    """Three lengths, each as a multiple of the shortest; the axes begin at zero, else a per cent looks like a doubling."""
    growth = {frames: {"peak_mb": 500.0 + frames / 100, "frame_ms": 10.0} for frames in (100, 300, 1000)}
    evaluation.draw_growth(growth, tmp_path / "growth.png")
    picture = cv2.imread(str(tmp_path / "growth.png"))
    assert picture.shape[1] > 2 * picture.shape[0]
    assert (picture != 255).any()
