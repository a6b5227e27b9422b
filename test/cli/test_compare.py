"""``ls-ood compare`` from the call to its files, on a very small street."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ls_ood_monitor import features
from ls_ood_monitor.cli.main import main, make_parser
from ls_ood_monitor.comparison import pictures, protocols
from ls_ood_monitor.core import detectors
from ls_ood_monitor.core.detectors import DetectorSpec

SMALL = ("--drives", "3", "--calibration-drives", "4", "--per-drive", "1", "--processes", "0", "--resamples", "100")


class BrightCells:
    """Toy detector with a map: how far each cell's brightness is from that of clean frames."""

    def fit(self, rows, ood_rows=None):
        self.mean, self.spread = rows.mean(axis=0), rows.std(axis=0) + 1e-3
        return self

    def cell_scores(self, rows):
        return np.abs(rows - self.mean) / self.spread

    def score(self, rows):
        return self.cell_scores(rows).mean(axis=1)

    def state(self):
        return {}


class Supervised(BrightCells):
    """Toy detector that needs OoD rows and has no anomaly map."""

    cell_scores = property()  # hasattr is False

    def fit(self, rows, ood_rows=None):
        assert ood_rows is not None
        assert len(ood_rows) == len(rows)
        self.away = ood_rows.mean(axis=0) - rows.mean(axis=0)
        return self

    def score(self, rows):
        return rows @ self.away


@pytest.fixture(scope="module")
def small_street():
    """Pictures of 128 x 96 from one camera, and two toy detectors on the mean of cells."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "CAMERA_SIZE", (128, 96))
        patch.setattr(protocols, "CAMERAS", ("front",))
        cells = lambda run: features.pool_cells(run.encoded.low).mean(dim=2)  # noqa: E731  one line, like its neighbours
        patch.setitem(features.FEATURES, "toy_cells", cells)
        for name, toy in (("toy", BrightCells), ("toy_supervised", Supervised)):
            spec = DetectorSpec("toy_cells", lambda head, toy=toy: toy(), lambda state: None, "test", toy is Supervised)
            patch.setitem(detectors.DETECTORS, name, spec)
        yield


@pytest.fixture(scope="module")
def out(small_street, tiny_bundle, tmp_path_factory) -> Path:
    """Folder of one run with a detector of the registry and both toys."""
    folder = tmp_path_factory.mktemp("benchmark")
    call = ["compare", *SMALL, "--bundle", str(tiny_bundle), "--device", "cpu", "--out", str(folder)]
    with pytest.raises(SystemExit) as end:
        main(
            [
                *call,
                "--detectors",
                "multistage,toy,toy_supervised",
                "--kinds",
                "unknown_object,dark",
                "--severities",
                "1,5",
            ]
        )
    assert end.value.code == 0
    return folder


def test_figures_equal_those_of_scikit_learn_on_the_scores(out):
    """Every value in results.json is recomputed from scores.npz: shares by counting, AUROC by scikit-learn."""
    results = json.loads((out / "results.json").read_text())
    with np.load(out / "scores.npz") as stored:
        scores = {key: stored[key] for key in stored.files}
    assert len(results["results"]) == 3 * (1 + 5 + 4)
    for entry in results["results"]:
        name = entry["detector"]
        label = f"{entry['shift']}_{entry['severity']}" if entry["severity"] else entry["shift"]
        own, clean = scores[f"{name}/{label}"], scores[f"{name}/clean"]
        threshold = results["detectors"][name]["threshold"]["value"]
        rate = "detection_rate" if entry["role"] == "ood" else "false_alarm_rate"
        assert entry[rate]["value"] == pytest.approx((own > threshold).mean())
        assert entry[rate]["low"] <= entry[rate]["value"] <= entry[rate]["high"]
        if entry["role"] != "clean":
            expected = roc_auc_score(np.repeat([0, 1], [len(clean), len(own)]), np.concatenate([clean, own]))
            assert entry["auroc"]["value"] == pytest.approx(expected)


def test_results_say_where_they_come_from(out, tiny_bundle):
    """Bundle, seeds, drives, command, unit and warnings are stored; calibration and test drives differ."""
    from ls_ood_monitor.bundle import verify_bundle

    results = json.loads((out / "results.json").read_text())
    assert results["bundle"]["sha256"] == verify_bundle(tiny_bundle).bundle_id
    assert results["data"]["calibration_drives"] == [3000, 3004]
    assert results["data"]["test_drives"] == [4000, 4003]
    assert results["command"].startswith("ls-ood compare")
    assert (results["unit"], results["units"], results["frames"]) == ("drive", {"control": 3}, 3)
    assert results["calibration"]["supervised"] == {
        "detectors": ["toy_supervised"],
        "kind": "fog",
        "severities": "1 to 5 in turn",
    }
    assert "cannot support" in results["detectors"]["toy"]["threshold"]["warning"]
    assert results["cost"]["pass_ms"] > 0.0
    assert all(entry["identity_difference"] < 1e-6 for entry in results["detectors"].values())


def test_maps_are_judged_where_a_detector_has_one(out):
    """Only the toy with cells gets pixel figures for the object, and map alarms on clean frames."""
    maps = json.loads((out / "results.json").read_text())["maps"]
    assert {entry["detector"] for entry in maps} == {"toy"}
    assert [(entry["shift"], entry["severity"]) for entry in maps] == [
        ("clean", None),
        ("unknown_object", 1),
        ("unknown_object", 5),
    ]
    large = maps[-1]
    assert 0.05 < large["disturbed_share"] < 0.5
    assert large["pixel_auroc"]["low"] <= large["pixel_auroc"]["value"] <= large["pixel_auroc"]["high"]
    assert large["found_rate"]["value"] <= large["alarm_rate"]["value"]


def test_the_stored_command_repeats_the_run(out):
    """The stored command can be parsed, has the given options, and names no folder of the machine."""
    command = json.loads((out / "results.json").read_text())["command"]
    options = make_parser("compare").parse_args(shlex.split(command)[1:])
    assert (options.drives, options.calibration_drives, options.severities) == (3, 4, "1,5")
    assert str(out) not in command


def test_tables_and_plots_are_written(out):
    """Markdown and three plots are written beside the numbers."""
    assert "`toy_supervised`" in (out / "results.md").read_text()
    for name in ("detection_heatmap.png", "detection_by_severity.png", "false_alarms.png"):
        assert (out / name).stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detectors", "oracle"], "no detector 'oracle'"),
        (["--detectors", "larem", "--reference", "multistage"], "--reference is 'multistage'"),
        (["--kinds", "locusts"], "locusts"),
        (["--severities", "0"], "--severities has 0"),
        (["--drives", "1"], "number of drives is 1"),
        (["--target-rate", "1"], "--target-rate is 1"),
        (["--folds", "1"], "--folds is 1"),
        (["--resamples", "5"], "--resamples is 5"),
        (["--protocol", "larex"], "needs --woodscape"),
        (["--protocol", "recordings"], "needs --clean"),
        (["--woodscape", "x"], "belongs to --protocol larex"),
        (["--every", "0"], "--every belongs to --protocol recordings"),
        (["--block", "5"], "--block belongs to --protocol recordings"),
        (["--protocol", "recordings", "--per-drive", "3"], "--per-drive belongs to --protocol street"),
        (["--protocol", "larex", "--calibration-drives", "5"], "--calibration-drives belongs to --protocol street"),
        (["--protocol", "larex", "--woodscape", "/nowhere"], "there is no folder /nowhere"),
        (["--bundle", "/nowhere"], "there is no bundle folder"),
    ],
)
def test_a_wrong_call_is_one_sentence(arguments, message, capsys):
    """A wrong call exits with 2 and one line that names the option or the path."""
    with pytest.raises(SystemExit) as end:
        main(["compare", *arguments])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_protocol_of_the_reference_runs_from_end_to_end(larex_trees, tiny_bundle, tmp_path, capsys):
    """WoodScape, Cityscapes and soiling in their own layouts give one table: anomalies, recorded sets, false alarms."""
    woodscape, cityscapes, soiling = map(str, larex_trees)
    out = tmp_path / "out"
    sets = ["--woodscape", woodscape, "--cityscapes", cityscapes, "--soiling", soiling]
    options = ["--detectors", "multistage,larem", "--processes", "0", "--resamples", "100", "--device", "cpu"]
    call = ["compare", "--protocol", "larex", *sets, *options, "--bundle", str(tiny_bundle), "--out", str(out)]
    with pytest.raises(SystemExit) as end:
        main(call)
    assert end.value.code == 0
    results = json.loads((out / "results.json").read_text())
    assert results["protocol"] == "larex"
    shifts = {entry["shift"] for entry in results["results"] if entry["role"] == "ood"}
    assert shifts == {"mud", "fog", "sun_flare", "cityscapes", "soiling"}
    assert results["calibration"]["frames"] + results["frames"] == 10
    assert set(results["detectors"]["larem"]["means"]) == {"severity_3_5", "recorded", "all"}
    assert "recorded" in capsys.readouterr().out
    assert "cityscapes" in (out / "results.md").read_text()
