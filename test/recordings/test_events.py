"""Ground truth: what is written can be read back, and what does not fit the recording gives a clear error."""

from __future__ import annotations

import pytest

from ls_ood_monitor.errors import DataError
from ls_ood_monitor.recordings.events import Event, clip_events, read_events, write_events

EVENTS = (Event("front", 1.0, 2.5, "fog", 3), Event("left", 4.0, 9.0, "mud"))


def test_events_come_back(tmp_path):
    """All fields come back in order; the severity may be left out, and an event may outlast the recording."""
    path = tmp_path / "events.yaml"
    write_events(EVENTS, path)
    assert read_events(path, ("front", "left"), 5.0) == EVENTS
    path.write_text("- {camera: front, start_s: 1, end_s: 2, label: fog}\n")
    assert read_events(path, ("front",), 5.0) == (Event("front", 1.0, 2.0, "fog"),)
    path.write_text("[]")
    assert read_events(path, ("front",), 5.0) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("camera: front", "events.yaml holds no list of events; each entry is a line like - {camera: front, "),
        ("", "holds no list of events"),
        ("[1, 2", "cannot be read as YAML"),
        ("- {camera: front, start_s: 1, end_s: 2}", "events.yaml: event 1 has no label; each entry is a line like"),
        ("- {camera: front, start_s: 1, end_s: , severity: 2}", "event 1 has no end_s and no label;"),
        ("- fog", "event 1 is 'fog'; each entry is a line like"),
        (
            "- {camera: front, start_s: early, end_s: 2, label: fog}",
            "event 1: start_s is 'early'; it must be a number of seconds",
        ),
        ("- {camera: front, start_s: [1], end_s: 2, label: fog}", "start_s is [1]; it must be a number of seconds"),
        (
            "- {camera: front, start_s: 1, end_s: 2, label: fog, severity: .nan}",
            "severity is nan; it must be a whole number from 1 to 5",
        ),
        (
            "- {camera: roof, start_s: 1, end_s: 2, label: fog}",
            "camera 'roof' is not in the recording, which has front",
        ),
        ("- {camera: front, start_s: 2, end_s: 2, label: fog}", "it must begin before it ends"),
        ("- {camera: front, start_s: 6, end_s: 7, label: fog}", "within the 5.0 s of the recording"),
        ("- {camera: front, start_s: -1, end_s: 7, label: fog}", "lasts from -1 to 7 s"),
        (
            "- {camera: front, start_s: 1, end_s: 2, label: fog, severty: 2}",
            "event 1 has no severty; known: camera, start_s, end_s, label, severity",
        ),
        (
            "[{camera: front, start_s: 1, end_s: 2, label: a}, {camera: front, start_s: 1, end_s: 2, label: a}]",
            "event 2 is event 1 once more; give it once",
        ),
        ("- {camera: front, start_s: 1, start_s: 2, end_s: 3, label: fog}", "'start_s' is given twice"),
        ("- {camera: front, start_s: .nan, end_s: 7, label: fog}", "lasts from nan"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, text, message):
    """The error names the file, the event, and what is wrong."""
    path = tmp_path / "events.yaml"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_events(path, ("front",), 5.0)
    assert message in str(error.value)
    assert "events.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_was_recorded_ends_an_event():
    """An event is cut at the end of the recording, and dropped if it begins there or later."""
    events = (*EVENTS, Event("left", 5.0, 6.0, "late"))
    assert clip_events(events, 5.0) == (EVENTS[0], Event("left", 4.0, 5.0, "mud"))


def test_a_missing_file_is_a_sentence(tmp_path):
    """The error names the missing file."""
    with pytest.raises(DataError, match=r"nowhere\.yaml cannot be read: No such file or directory\.$"):
        read_events(tmp_path / "nowhere.yaml", ("front",), 5.0)
