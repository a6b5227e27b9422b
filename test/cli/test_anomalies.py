"""``ls-ood anomalies``: what it writes, and how it refuses."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from ls_ood_monitor.anomalies import ANOMALIES, anomaly_mask, apply_anomaly
from ls_ood_monitor.cli.main import main
from ls_ood_monitor.street import StreetDrive

PICTURE = StreetDrive(7).render("front", 3.0, width=160, height=120)[0]


@pytest.fixture
def picture(tmp_path):
    """A picture on disk."""
    path = tmp_path / "photos" / "one.png"
    path.parent.mkdir()
    cv2.imwrite(str(path), PICTURE)
    return path


def call(*arguments: object) -> int:
    """Exit code of ``ls-ood anomalies``."""
    with pytest.raises(SystemExit) as end:
        main(["anomalies", *map(str, arguments)])
    return int(end.value.code)


def test_it_writes_the_disturbed_picture_to_the_bit(picture, tmp_path):
    """One PNG a kind and severity, lossless, and the same as the library gives."""
    out = tmp_path / "out"
    assert call(picture, "--out", out, "--kinds", "fog, rain", "--severities", "1,5", "--seed", 3) == 0
    names = {f"one_{kind}_{severity}.png" for kind in ("fog", "rain") for severity in (1, 5)}
    assert {path.name for path in out.iterdir()} == names
    np.testing.assert_array_equal(cv2.imread(str(out / "one_rain_5.png")), apply_anomaly("rain", PICTURE, 5, 3))


def test_an_unknown_object_comes_with_its_mask(picture, tmp_path):
    """The mask is white on the object and black elsewhere."""
    out = tmp_path / "out"
    assert call(picture, "--out", out, "--kinds", "unknown_object", "--severities", "4") == 0
    assert {path.name for path in out.iterdir()} == {"one_unknown_object_4.png", "one_unknown_object_4_mask.png"}
    mask = cv2.imread(str(out / "one_unknown_object_4_mask.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, 255 * anomaly_mask("unknown_object", PICTURE, 4, 0))


def test_a_folder_with_a_sheet_and_json(picture, tmp_path, capsys):
    """All pictures of a folder, other files left alone; the sheet has a row a kind; JSON lists every file."""
    cv2.imwrite(str(picture.with_name("two.JPG")), PICTURE)
    picture.with_name("notes.txt").write_text("no picture")
    out, facts = tmp_path / "out", tmp_path / "facts.json"
    options = ("--kinds", "mud,snow,identity", "--severities", "2,4", "--sheet", "--json", facts)
    assert call(picture.parent, "--out", out, *options) == 0
    content = json.loads(facts.read_text())
    assert (content["pictures"], content["kinds"], content["severities"]) == (2, ["mud", "snow", "identity"], [2, 4])
    assert sorted(content["files"]) == sorted(str(path) for path in out.iterdir())
    assert len(content["files"]) == 2 * 3 * 2 + 1
    sheet = cv2.imread(str(out / "contact_sheet.png"))
    assert sheet.shape[0] > 3 * 100
    assert sheet.shape[1] > 3 * 160
    assert "13 files" in capsys.readouterr().out


def test_without_a_picture_it_takes_the_street(tmp_path):
    """All kinds but the control are the default, at severities 1, 3 and 5."""
    assert call("--out", tmp_path / "out", "--severities", "5", "--sheet") == 0
    kinds = [name for name in ANOMALIES if name != "identity"]
    assert {path.name for path in (tmp_path / "out").glob("street_*_5.png")} == {f"street_{k}_5.png" for k in kinds}


def test_help_names_every_kind(capsys):
    """The help is written by hand, so that it loads nothing; it must keep up with the list."""
    assert call("--help") == 0
    text = capsys.readouterr().out.replace(",", " ").split()
    assert not set(ANOMALIES) - set(text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["nowhere.png"], "There is no picture or folder nowhere.png"),
        (["notes.txt"], "cannot read picture notes.txt: it is not a picture"),
        (["empty.png"], "cannot read picture empty.png: it is not a picture"),
        (["empty"], "Folder empty has no picture"),
        (["twins"], "would get the same results"),
        (["--kinds", "fog,locusts"], "--kinds has locusts; known: identity, fog"),
        (["--kinds", ","], "--kinds has no kind; known: identity"),
        (["--severities", "1,6"], "--severities has 6; known: 1, 2, 3, 4, 5"),
        (["--severities", "high"], "--severities has high"),
        (["--severities", ""], "--severities has no number"),
        (["--seed", "-1"], "--seed is -1"),
        (["twins/a.png", "--out", "twins"], "--out is twins, where the pictures are"),
        (["twins/a.png", "--out", "notes.txt"], "is a file; name a folder"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(options, words, tmp_path, monkeypatch, capsys):
    """The sentence names the value and what is known; nothing is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "empty.png").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "twins").mkdir()
    for name in ("a.png", "a.jpg"):
        cv2.imwrite(str(tmp_path / "twins" / name), PICTURE)
    assert call("--out", "out", *options) == 2
    message = capsys.readouterr().err
    assert message.startswith("ls-ood anomalies: ")
    assert words in message
    assert message.count("\n") == 1
    assert not list(tmp_path.glob("out/*"))
