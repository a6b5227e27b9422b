"""``ls-ood synth --layout woodscape``: a data set instead of a recording."""

from __future__ import annotations

import json

import pytest

from ls_ood_monitor.datasets import open_dataset


def test_a_data_set_of_drives(tmp_path, ls_ood):
    """Two drives, one moment and two cameras give four labelled pictures; a second run into the folder is refused."""
    drives = ("--drives", "2", "--per-drive", "1", "--drive", "1000")
    options = ("synth", "--layout", "woodscape", "--out", tmp_path / "street", *drives)
    done = ls_ood(*options, "--json", tmp_path / "facts.json")
    assert done.returncode == 0, done.stderr
    data = open_dataset("woodscape", tmp_path / "street")
    assert list(data.sequences.values()) == ["drive-1000"] * 2 + ["drive-1001"] * 2
    assert {labels.shape for _, labels in data} == {(483, 640)}
    assert json.loads((tmp_path / "facts.json").read_text())["pictures"] == 4
    again = ls_ood(*options)
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_a_recording_does_not_go_among_other_files(tmp_path, ls_ood):
    """A folder with other files is refused."""
    (tmp_path / "rgb_images").mkdir()
    done = ls_ood("synth", "--out", tmp_path)
    assert done.returncode == 2
    assert "holds rgb_images, which is not part of a recording" in done.stderr.replace("\n", " ")
    assert [path.name for path in tmp_path.iterdir()] == ["rgb_images"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--event", "front:fog:4:7:11"], "a data set has clean pictures"),
        (["--drives", "0"], "--drives is 0"),
        (["--per-drive", "-1"], "--per-drive is -1"),
        (["--drive", "-1"], "--drive is -1"),
        (["--camera", "roof"], "--camera is 'roof'"),
    ],
)
def test_bad_usage_is_one_sentence_and_exit_2(arguments, words, tmp_path, ls_ood):
    """Nothing is rendered or written."""
    done = ls_ood("synth", "--layout", "woodscape", "--out", tmp_path / "street", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "street").exists()
