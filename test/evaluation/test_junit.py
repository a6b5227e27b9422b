"""What a build server reads: a test case a rule, a suite a recording."""

from __future__ import annotations

from xml.etree import ElementTree

from ls_ood_monitor.evaluation.junit import junit_suite, write_junit
from ls_ood_monitor.evaluation.results import Rule

KEPT = Rule("min_auroc", True, "area under the ROC curve: 0.97 (at least 0.9 accepted)")
BROKEN = Rule("max_faults", False, "alarms without a verdict: 2 (at most 1 accepted)")


def counts(element: ElementTree.Element) -> tuple[str | None, ...]:
    return tuple(element.get(key) for key in ("tests", "failures", "errors"))


def test_every_rule_is_a_case(tmp_path):
    """A failure with the sentence for each that is broken; what a reader must know beside them is its output."""
    write_junit(tmp_path / "junit.xml", junit_suite("drive", [BROKEN, KEPT], note="8 images cannot be read."))
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert (suite.tag, suite.get("name"), counts(suite)) == ("testsuite", "drive", ("2", "1", "0"))
    failures = {case.get("name"): case.find("failure") for case in suite.iter("testcase")}
    assert failures["min_auroc"] is None
    kept = suite.find("testcase[@name='min_auroc']")
    assert kept.findtext("system-out") == KEPT.sentence
    assert failures["max_faults"].get("message") == BROKEN.sentence
    assert suite.findtext("system-out") == "8 images cannot be read."


def test_a_recording_that_failed_is_an_error(tmp_path):
    """One test case that is neither passed nor failed; what XML does not know is left out of its sentence."""
    write_junit(tmp_path / "junit.xml", junit_suite("drive", [], "bag is damaged (\x00\x1b)"))
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert counts(suite) == ("1", "0", "1")
    assert suite.find("testcase/error").get("message") == "bag is damaged (??)"
    assert suite.find("system-out") is None


def test_a_recording_that_no_rule_asks_is_a_case_all_the_same():
    """It was judged; a suite without a test would look like one that did not run."""
    suite = junit_suite("drive", [])
    assert counts(suite) == ("1", "0", "0")
    assert [len(case) for case in suite.iter("testcase")] == [0]


def test_several_suites_are_summed(tmp_path):
    """As build servers expect it of many."""
    write_junit(
        tmp_path / "junit.xml", junit_suite("a", [KEPT]), junit_suite("b", [BROKEN, KEPT]), junit_suite("c", [], "gone")
    )
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert (root.tag, counts(root)) == ("testsuites", ("4", "1", "1"))
    assert [suite.get("name") for suite in root] == ["a", "b", "c"]
