"""ls-ood train as a user calls it: a data set in WoodScape's layout in, checkpoints, report and bundle out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.datasets import (
    open_dataset,
    read_split,
    split_by_sequence,
    write_split,
)
from ls_ood_monitor.street import StreetDrive
from ls_ood_monitor.street.shots import RenderedShot, Shot
from ls_ood_monitor.street.woodscape_writer import write_woodscape

RUN = ("-m", "deeplabv3p-backbone-dropblock2d", "--loss_type", "focal_loss")
ROOT = Path(__file__).parents[2]
SMALL = ["--compact", "--batch", "2", "--imgh", "96", "--imgw", "128", "--device", "cpu", "--workers", "0"]


def train_process(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the reference's command in a process of its own."""
    command = [sys.executable, str(ROOT / "train_deeplab_v3p.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def woodscape(tmp_path_factory) -> Path:
    """Twelve drives, four pictures each, in WoodScape's layout."""
    root = tmp_path_factory.mktemp("data") / "woodscape"

    def pictures():
        for seed in range(1, 13):
            drive = StreetDrive(seed)
            for camera in ("front", "rear"):
                for t in (1.0, 3.0):
                    yield RenderedShot(Shot(seed, camera, t), *drive.render(camera, t, 160, 120))

    write_woodscape(root, pictures())
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory, woodscape) -> Path:
    """A run of one epoch with the reference's own option names, the long ones as in its successor."""
    here = tmp_path_factory.mktemp("run")
    done = train_process(
        *(*RUN, "--epochs", "1", "-d", "woodscape", "--datapath", woodscape, "--out", "out"),
        *("--target-rate", "0.4", "--allow-small", "--json", "result.json", *SMALL),
        cwd=here,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return here


def test_one_command_from_data_to_bundle(trained, woodscape):
    """Checkpoints, logs, split, report and picture are there, and the bundle loads and names the ten classes."""
    out = trained / "out"
    assert (out / "checkpoints" / "last.ckpt").exists()
    assert list((out / "tensorboard").glob("events*"))
    assert (out / "confusion.png").stat().st_size > 5000
    result = json.loads((trained / "result.json").read_text())
    assert result == json.loads((out / "report.json").read_text())
    assert 0.0 <= result["test"]["miou"] <= 1.0
    monitor = load_bundle(out / "bundle", device="cpu")
    assert monitor.bundle_id == result["bundle"]["sha256"]
    assert monitor.class_names[4] == "person"
    split = read_split(out / "split.json")
    homes = {part: {split.sequences[name] for name in names} for part, names in split.parts.items()}
    assert not homes["train"] & homes["valid"]
    assert not homes["train"] & homes["test"]
    assert sum(map(len, split.parts.values())) == 48


def test_a_checkpoint_is_measured_on_its_own_test_drives(trained, woodscape, monkeypatch, ls_ood):
    """--evaluate gives the figures that the training gave, with the seed of another split."""
    monkeypatch.chdir(trained)
    done = ls_ood(
        *("train", "-d", "woodscape", "-p", woodscape, "-s", "1", "--evaluate", "out/checkpoints/best.ckpt"),
        *("--json", "again.json", "--device", "cpu"),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    again = json.loads((trained / "again.json").read_text())
    first = json.loads((trained / "result.json").read_text())
    assert again["test"] == first["test"]
    assert "mIoU" in done.stdout
    assert (trained / "out" / "evaluation" / "confusion.png").exists()


def test_a_disturbed_evaluation_has_a_control(trained, woodscape, monkeypatch, ls_ood):
    """Under the control the figures are the clean ones to the last digit; under fog and mud they are not."""
    monkeypatch.chdir(trained)
    first = json.loads((trained / "result.json").read_text())["test"]
    for kinds, same in (("identity", True), ("reference", False)):
        done = ls_ood(
            *("train", "-d", "woodscape", "-p", woodscape, "--evaluate", "out/checkpoints/last.ckpt"),
            *("--disturb", kinds, "--out", kinds, "--json", "disturbed.json", "--device", "cpu"),
        )
        assert done.returncode == 0, done.stderr[-3000:]
        disturbed = json.loads((trained / "disturbed.json").read_text())
        assert (disturbed["test"] == first) == same
        assert (trained / kinds / "examples.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-m", "deeplabv3p-normal"], "dropblock_prob 0.3 instead of 0.0"),
        (["--backbone", "resnet18"], "backbone mobilenet_v2 instead of resnet18"),
        (["--optimiser", "sgd"], "optimiser adamw instead of sgd"),
        (["--imgh", "64"], "height 96 instead of 64"),
        (["-d", "woodscape-soiling"], "classes 10 instead of 4"),
    ],
)
def test_a_run_is_resumed_as_it_was_started(arguments, words, trained, woodscape, monkeypatch, ls_ood):
    """Another network, optimiser or size is refused by name before anything is read."""
    monkeypatch.chdir(trained)
    resume = ("--resume", "out/checkpoints/last.ckpt", "-p", woodscape)
    done = ls_ood("train", *RUN, *SMALL, *resume, *arguments)
    assert done.returncode == 2, done.stderr[-3000:]
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_checkpoint_is_measured_on_its_classes(trained, monkeypatch, ls_ood):
    """Another number of classes is what the sentence says, not that pictures are missing."""
    monkeypatch.chdir(trained)
    done = ls_ood("train", "-d", "cityscapes", "-p", trained, "--evaluate", "out/checkpoints/last.ckpt")
    assert done.returncode == 2
    assert "knows 10 classes, cityscapes has 20" in done.stderr


@pytest.fixture
def lone(trained, tmp_path) -> Path:
    """The checkpoint of the run without its split.json."""
    path = tmp_path / "lone" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    path.write_bytes((trained / "out" / "checkpoints" / "last.ckpt").read_bytes())
    return path


def test_a_checkpoint_knows_its_split(lone, woodscape, monkeypatch, ls_ood):
    """Without its split.json it takes the data set's own if that is the same, and refuses another one."""
    monkeypatch.chdir(lone.parents[1])
    evaluate = ("train", "-d", "woodscape", "-p", woodscape, "--evaluate", lone, "--device", "cpu")
    done = ls_ood(*evaluate)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "note:" not in done.stderr
    split = split_by_sequence(open_dataset("woodscape", woodscape).sequences, seed=1)
    write_split(lone.parents[1] / "split.json", split)
    done = ls_ood(*evaluate)
    assert done.returncode == 2
    assert "was trained on another split" in done.stderr
    done = ls_ood("train", "-d", "woodscape", "-p", woodscape, "--resume", lone, *RUN, *SMALL)
    assert done.returncode == 2
    assert "was trained on another split" in done.stderr


def test_a_checkpoint_that_does_not_know_its_split_is_measured_with_a_note(lone, woodscape, monkeypatch, ls_ood):
    """As those written before checkpoints knew their split."""
    import torch

    monkeypatch.chdir(lone.parents[1])
    content = torch.load(lone, weights_only=True)
    del content["hyper_parameters"]["split"]
    torch.save(content, lone)
    done = ls_ood("train", "-d", "woodscape", "-p", woodscape, "--evaluate", lone, "--device", "cpu")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "seen some of the test pictures" in done.stderr


def test_a_second_run_needs_a_folder_of_its_own(trained, woodscape, monkeypatch, ls_ood):
    """Its split would not be that of the checkpoints that lie there."""
    monkeypatch.chdir(trained)
    before = (trained / "out" / "split.json").read_bytes()
    done = ls_ood("train", "-d", "woodscape", "-p", woodscape, "-s", "1", "--out", "out", *SMALL)
    assert done.returncode == 2
    assert "out holds the checkpoints of another run" in done.stderr
    assert (trained / "out" / "split.json").read_bytes() == before


def test_the_default_reads_in_processes_of_its_own(woodscape, tmp_path):
    """Without --workers pictures are read and augmented beside the training; --tqmd shows the plain bar."""
    options = ("-d", "woodscape", "-p", woodscape, "--no-bundle", "--augmentation", "reference", "--tqmd")
    done = train_process(*options, *SMALL[:-2], cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "runs" / "woodscape" / "report.json").exists()
    assert "Epoch 0: 100%" in done.stderr + done.stdout
    assert "mobilenet_v2 starts from random weights" in done.stderr
    assert "--initial FILE (https://download.pytorch.org/models/mobilenet_v2-" in done.stderr


def test_what_the_calibration_would_refuse_is_refused_before_the_training(woodscape, tmp_path, monkeypatch, ls_ood):
    """Too few clean frames for the target: nothing is trained or written."""
    monkeypatch.chdir(tmp_path)
    done = ls_ood("train", "-d", "woodscape", "-p", woodscape, *SMALL)
    assert done.returncode == 2
    assert "clean frames cannot support a target of 0.01" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_label_of_any_part_shows_before_the_training(woodscape, tmp_path, monkeypatch, ls_ood):
    """The test part, too, which is only measured at the end."""
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "woodscape"
    shutil.copytree(woodscape, copy)
    name = Path(read_split(copy / "split.json").parts["test"][0]).name
    cv2.imwrite(str(copy / "semantic_annotations" / "gtLabels" / name), np.full((120, 160), 17, np.uint8))
    done = ls_ood("train", "-d", "woodscape", "-p", copy, "--no-bundle", *SMALL)
    assert done.returncode == 2
    assert "holds the value 17; allowed are 0 to 9" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_the_way_from_a_checkpoint_to_a_bundle(trained, woodscape, tmp_path, monkeypatch, ls_ood):
    """A run resumed with its epochs done trains nothing, measures and calibrates; its folder may have moved."""
    import torch

    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained / "out", "moved")
    shutil.rmtree("moved/bundle")
    target = ("--target-rate", "0.4", "--allow-small")
    resume = ("--resume", "moved/checkpoints/last.ckpt")
    done = ls_ood("train", "-d", "woodscape", "-p", woodscape, *RUN, *SMALL, *target, *resume)
    assert done.returncode == 0, done.stderr[-3000:]
    assert load_bundle(tmp_path / "moved" / "bundle", device="cpu").class_names[4] == "person"
    kept = [
        torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for run in (trained / "out", Path("moved"))
    ]
    assert all(torch.equal(value, kept[1][name]) for name, value in kept[0].items())
    assert (
        json.loads(Path("moved/report.json").read_text())["test"]
        == json.loads((trained / "result.json").read_text())["test"]
    )


def test_cityscapes(make_pictures, tmp_path, monkeypatch, ls_ood):
    """From the published layout to a report with its 20 classes, split by city."""
    monkeypatch.chdir(tmp_path)
    for number, image in enumerate(make_pictures(6, 96, 128)):
        scene = f"city{number // 2}/city{number // 2}_{number:06d}_000019"
        picture = tmp_path / "cs" / "leftImg8bit" / "train" / f"{scene}_leftImg8bit.png"
        label = tmp_path / "cs" / "gtFine" / "train" / f"{scene}_gtFine_labelIds.png"
        for path, pixels in ((picture, image), (label, image[..., 0] % 34)):
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), pixels)
    done = ls_ood("train", "-d", "cityscapes", "-p", "cs", "--no-bundle", *SMALL)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((tmp_path / "runs" / "cityscapes" / "report.json").read_text())
    assert (len(report["test"]["iou"]), report["test"]["pictures"]) == (20, 2)


def test_a_picture_that_a_reading_process_refuses_is_one_sentence(woodscape, tmp_path):
    """Its file is named, without torch's traceback."""
    copy = tmp_path / "woodscape"
    shutil.copytree(woodscape, copy)
    for picture in (copy / "rgb_images").iterdir():
        picture.write_bytes(picture.read_bytes()[:500])
    done = train_process("-d", "woodscape", "-p", copy, "--no-bundle", *SMALL[:-2], "--workers", "1", cwd=tmp_path)
    assert done.returncode == 2, done.stderr[-3000:]
    assert "ls-ood train: cannot read picture" in done.stderr
    assert "Traceback" not in done.stderr


def test_resume_and_fine_tuning(trained, woodscape, monkeypatch, ls_ood):
    """An interrupted run goes on; fine tuning keeps the backbone of the weights it starts from."""
    import torch

    monkeypatch.chdir(trained)
    first = trained / "out" / "checkpoints" / "last.ckpt"
    model = (*RUN, "-d", "woodscape", "-p", woodscape, "--no-bundle")
    done = ls_ood("train", *model, "-e", "2", "--resume", first, "-s", "1", "--out", "more", *SMALL)
    assert done.returncode == 0, done.stderr[-3000:]
    assert read_split(trained / "more" / "split.json") == read_split(trained / "out" / "split.json")  # for all the seed
    assert torch.load(trained / "more/checkpoints/last.ckpt", weights_only=True)["epoch"] == 1
    done = ls_ood("train", *model, "--load_pretrained", first, "--fine_tuning", "--out", "tuned", *SMALL)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "random weights" not in done.stderr
    start = torch.load(first, weights_only=True)["state_dict"]
    tuned = torch.load(trained / "tuned/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    for key, value in start.items():
        if key.startswith("network.backbone."):
            torch.testing.assert_close(tuned[key], value)
    assert not torch.equal(tuned["network.decoder.1.weight"], start["network.decoder.1.weight"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-p", "/nowhere"], "/nowhere"),
        (["--fine_tuning"], "give --load_pretrained FILE"),
        (["--load_pretrained"], "no weight file Model_Woodscape.pth"),
        (["--resume", "/nowhere.ckpt"], "no weight file /nowhere.ckpt"),
        (["--resume", "garbage.ckpt"], "garbage.ckpt is not a plain torch state dict"),
        (["--evaluate", "/nowhere.ckpt"], "no weight file /nowhere.ckpt"),
        (["--detector", "lared"], "one of those a trained bundle holds, spatial, larem, mahalanobis, multistage"),
        (["--target-rate", "2"], "the target false-alarm rate is 2.0"),
        (["-b", "0"], "ls-ood train: --batch is 0; it must lie within"),
        (["-s", "-1"], "--seed is -1"),
        (["--learning-rate", "7"], "--learning-rate is 7"),
        (["--early-stopping", "-1"], "--early-stopping is -1"),
        (["--imgw", "8"], "--imgw is 8"),
        (["--evaluate", "garbage.ckpt", "--imgh", "96"], "leave out --imgh and --imgw"),
        (["-d", "street", "--drives", "0"], "number of drives is 0"),
        (["-d", "street", "--validation-drives", "-1"], "number of validation drives is -1"),
        (["--disturb", "fog"], "give --evaluate CKPT"),
        (["--evaluate", "last.ckpt", "--disturb", "fog,locusts"], "kinds are locusts; known: identity, fog"),
        (["--slurm"], "but torch sees 0 GPUs"),
    ],
)
def test_bad_input_is_one_sentence(arguments, words, tmp_path, monkeypatch, ls_ood):
    """Exit 2 and one line that says what to do."""
    monkeypatch.chdir(tmp_path)
    Path("garbage.ckpt").write_bytes(b"no checkpoint")
    done = ls_ood("train", *arguments)
    assert done.returncode == 2, done.stderr[-3000:]
    assert words in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
