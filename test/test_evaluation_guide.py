"""docs/evaluation.md from top to bottom: every command, the events as they are written there, the limits that are shipped."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import fields, is_dataclass
from pathlib import Path

import yaml

from ls_ood_monitor.evaluation import results
from ls_ood_monitor.recordings.events import read_events

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")


def test_the_commands_run_and_the_limits_are_kept(tmp_path, monkeypatch, ls_ood):
    """The fog is found and stopped for within the limits, and the example of the truth is what synth writes."""
    shutil.copytree(ROOT / "config", tmp_path / "config")  # all that the commands take from a clone
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL):
        program, *arguments = shlex.split(block)
        assert program == "ls-ood"
        done = ls_ood(*arguments)
        assert done.returncode == 0, f"{block}: {done.stderr}{done.stdout}"
    assert "ACCEPTANCE PASSED" in done.stdout
    for name in ("verdict/frames.csv", "verdict/timeline.png", "verdict/report.html", "accepted/junit.xml"):
        assert (tmp_path / name).is_file()
    accepted = json.loads((tmp_path / "accepted" / "summary.json").read_text())["acceptance"]
    assert len(accepted["rules"]) == len(yaml.safe_load((ROOT / "config" / "examples" / "acceptance.yaml").read_text()))
    truth = tmp_path / "truth.yaml"
    truth.write_text(re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)[1])
    assert read_events(truth, ("front",), 24.0) == read_events(
        tmp_path / "drive" / "events.yaml", ("front", "left"), 24.0
    )


def test_every_figure_of_the_guide_is_in_the_summary():
    """Names in the table are those of the results."""
    written = {spec.name for kind in vars(results).values() if is_dataclass(kind) for spec in fields(kind)}
    written |= {"per_hour", "upper"}
    table = TEXT.split("| figure in `summary.json`")[1].split("## 4.")[0]
    names = {
        name.rsplit(".", 1)[-1]
        for line in table.splitlines()
        for name in re.findall(r"`([\w.]+)`", line.split("|")[1:2][0] if "|" in line else "")
    }
    assert {"detected", "delay_s", "false_per_hour", "auroc", "faults", "latency_ms"} <= names
    assert names <= written
