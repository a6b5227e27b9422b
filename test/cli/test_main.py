"""The command line as a process: help, errors, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ls_ood_monitor.cli.main import COMMANDS


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ls-ood in a process of its own."""
    command = [sys.executable, "-m", "ls_ood_monitor.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_without_torch(command):
    """Each command explains itself, and needs neither torch nor ROS for that."""
    code = (
        "import sys; from ls_ood_monitor.cli.main import main\n"
        f"try: main(['{command}', '--help'])\n"
        "except SystemExit as end: print(end.code, sorted({'torch', 'rclpy', 'cv2', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("0 []")
    assert f"ls-ood {command}" in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_help_lists_every_command(arguments):
    """``ls-ood --help``, and ``ls-ood`` alone, name all commands and the exit codes."""
    text = run(*arguments).stdout
    assert all(name in text for name in COMMANDS)
    assert "Exit codes" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fly"], "invalid choice"),
        (["bench", "--check"], "ls-ood bench: this command is now called profile; run 'ls-ood profile'."),
        (["benchmark", "--out", "x"], "ls-ood benchmark: this command is now called compare; run 'ls-ood compare'."),
        (["bundle", "verify", "/nowhere"], "ls-ood bundle: there is no bundle folder /nowhere"),
        (["calibrate", "/nowhere", "--out", "x"], "ls-ood calibrate: there is no /nowhere"),
        (["calibrate", "--out", "x"], "nothing to calibrate on"),
        (["calibrate", ".", "--out", "x"], "holds no picture"),
        (["calibrate", "--out", "x", "--bundle", "x"], "--out and --bundle are both x"),
        (["calibrate", "--out", "x", "--dataset", "woodscape"], "give --datapath DIR"),
        (["calibrate", "--out", "x", "--dataset", "street", "--drives", "0"], "--drives is 0"),
        (["calibrate", "--out", "x", "--dataset", "street", "--detectors", "oracle"], "oracle"),
        (["calibrate", "--out", "x", "--dataset", "street", "--detector", "oracle"], "one of those calibrated"),
        (["calibrate", "--out", "x", "--target-rate", "0.1", "--target-per-hour", "1"], "not allowed with"),
        (["play", "/nowhere"], "ls-ood play: Bag /nowhere does not exist"),
        (["play", "/nowhere", "--rate", "0"], "--rate is 0"),
        (["play", "/nowhere", "--rate", "nan"], "--rate is nan"),
        (["play", "/nowhere", "--wait", "nan"], "--wait is nan; it must lie within [0, 3600] s"),
        (["play", "/nowhere", "--clock", "--restamp"], "choose one"),
        (["play", "/nowhere", "--record-pictures", "overlay"], "needs --record"),
        (["play", "/nowhere", "--record", "a_file"], "--record is a_file, which exists already"),
        (["play", "/nowhere", "--record", "absent/out"], "the folder absent does not exist"),
        (["play", "/nowhere", "--record", "/proc/out"], "--record is /proc/out; "),
        (["synth", "--out", "x", "--event", "front:fog"], "CAMERA:ANOMALY:SEVERITY:START:END"),
        (["synth", "--out", "x", "--camera", "roof"], "roof"),
        (["synth", "--out", "x", "--event", "front:locusts:3:1:2"], "locusts"),
        (["synth", "--out", "x", "--event", "front:fog:9:1:2"], "severity 9"),
        (["synth", "--out", "a_file"], "ls-ood synth: --out is a_file, but"),
        (["bundle", "verify", "--json", "nowhere/x.json"], "--json is nowhere/x.json"),
        (["bundle", "verify", "--json", "."], "--json is ."),
        (["train", "--out", "x", "--detector", "oracle"], "oracle"),
        (["train", "--out", "x", "--initial", "/nowhere.pth"], "no weight file"),
        (["train", "--model", "resnet"], "invalid choice: 'resnet'"),
        (["play"], "required: BAG; 'ls-ood play --help' explains"),
        (
            ["evaluate", "d", "--out", "x", "--fast"],
            "ls-ood evaluate: unrecognized arguments: --fast; 'ls-ood evaluate --help'",
        ),
        (["--fast"], "; 'ls-ood --help' explains"),
    ],
)
def test_bad_usage_is_one_sentence_and_exit_2(arguments, message, tmp_path, monkeypatch, ls_ood):
    """A wrong call or input exits with 2 and says what is wrong in one line, without a traceback."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").touch()
    done = ls_ood(*arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "domain", "message"),
    [
        (["--detector", "oracle"], "1", "detector is 'oracle'"),
        (["--device", "cuda:99"], "1", "cuda:99"),
        (["--bundle", "nowhere"], "1", "no bundle folder nowhere"),
        (["--out", "a_file"], "1", "a_file cannot be used"),
        ([], "home", "ROS_DOMAIN_ID is 'home'"),
        ([], "233", "ROS_DOMAIN_ID is '233'"),
    ],
)
def test_the_demo_refuses_before_it_renders(arguments, domain, message, tmp_path, monkeypatch, ls_ood):
    """What the nodes would refuse after a minute of rendering is refused at once, in one sentence."""
    pytest.importorskip("rclpy")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROS_DOMAIN_ID", domain)
    (tmp_path / "a_file").touch()
    done = ls_ood("demo", *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "demo_out").exists()


def test_a_process_of_its_own_says_the_same():
    """The exit code and the sentence as a shell sees them."""
    done = run("bundle", "verify", "/nowhere")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "there is no bundle folder /nowhere" in done.stderr


def test_verify_the_embedded_bundle(tmp_path, ls_ood):
    """``ls-ood bundle verify`` prints its identity, writes it for machines, and exits with 0."""
    done = ls_ood("bundle", "verify", "--json", tmp_path / "b.json")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].split()[-1] == json.loads((tmp_path / "b.json").read_text())["sha256"]


def test_json_on_standard_output_stands_there_alone(tmp_path, monkeypatch, ls_ood):
    """``--json -``: a program can read it, a person reads the rest on stderr, and no file of that name is written."""
    monkeypatch.chdir(tmp_path)
    done = ls_ood("bundle", "verify", "--json", "-")
    assert done.returncode == 0
    assert json.loads(done.stdout)["sha256"] in done.stderr
    assert not list(tmp_path.iterdir())
    assert ls_ood("bundle", "verify").stdout.strip()  # and afterwards text is where it was


def test_without_rclpy_the_live_commands_say_so(tmp_path):
    """Where no ROS is installed, demo refuses in a sentence before it renders anything."""
    code = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'rclpy' else find(name, *rest)\n"
        f"from ls_ood_monitor.cli.main import main; main(['demo', '--out', {str(tmp_path / 'out')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "rclpy is not installed" in done.stderr
    assert not (tmp_path / "out").exists()
