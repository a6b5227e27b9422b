"""JUnit XML as build servers read it: a test case a rule, a suite a recording."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from .results import Rule


def junit_suite(name: str, rules: Sequence[Rule], error: str = "", note: str = "") -> ElementTree.Element:
    """One suite, of a recording.

    ``error`` says why it has no result; ``note`` what a reader must know beside the rules; empty = nothing.
    """
    failures, errors = sum(not rule.passed for rule in rules), 1 if error else 0
    # Build servers take a suite without a test for one that did not run.
    is_alone = bool(error) or not rules
    counts = {"tests": str(len(rules) + is_alone), "failures": str(failures), "errors": str(errors)}
    suite = ElementTree.Element("testsuite", {"name": _legal(name), **counts})
    for rule in rules:
        case = ElementTree.SubElement(suite, "testcase", classname=_legal(name), name=_legal(rule.name))
        if rule.passed:
            ElementTree.SubElement(case, "system-out").text = _legal(rule.sentence)
        else:
            ElementTree.SubElement(case, "failure", message=_legal(rule.sentence))
    if is_alone:
        case = ElementTree.SubElement(suite, "testcase", classname=_legal(name), name="evaluation")
    if error:
        ElementTree.SubElement(case, "error", message=_legal(error))
    if note:
        ElementTree.SubElement(suite, "system-out").text = _legal(note)
    return suite


def write_junit(path: Path, *suites: ElementTree.Element) -> None:
    """One suite is the root of its file; of several the root is ``testsuites``, with their sums."""
    root = suites[0]
    if len(suites) > 1:
        sums = {key: str(sum(int(suite.get(key, 0)) for suite in suites)) for key in ("tests", "failures", "errors")}
        root = ElementTree.Element("testsuites", sums)
        root.extend(suites)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _legal(text: str) -> str:
    """Without the control characters that XML does not know; names are the user's, and an error may quote a damaged file."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
