"""What a person should know of a bag before its images are used, as sentences."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

from .bags import BagInfo, camera_of, has_images, is_camera, is_depth


def bag_notes(info: BagInfo, topics: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield what opening a bag shows: clock steps, silent topics, images left out, several writers.

    ``topics`` (topic -> camera) are those that are used; None = every camera topic.
    """
    chosen = info.cameras if topics is None else topics
    if info.step_note:
        yield info.step_note
    counts: dict[str, int] = {}
    for entry in info.topics:
        if entry.topic in chosen and has_images(entry):
            counts[entry.topic] = counts.get(entry.topic, 0) + entry.messages
    silent = [topic for topic, count in counts.items() if not count]
    filled = [topic for topic, count in counts.items() if count]
    for topic in silent:
        cure = f"; leave it out with {topic_options({name: chosen[name] for name in filled})}" if filled else ""
        yield f"{topic} holds no message, so camera {chosen[topic]} is silent throughout{cure}."
    depth = [entry.topic for entry in info.topics if topics is None and has_images(entry) and is_depth(entry.topic)]
    if depth:
        example = f"--topic {depth[0]}={camera_of(depth[0])}"
        yield f"{', '.join(depth)}: left out as images of distances, by their names; {example} takes one all the same."
    yield from driver_notes(info, chosen)
    if topics is None and not chosen:
        others = [entry.topic for entry in info.topics if has_images(entry) and not is_camera(entry)]
        if others:
            yield f"no topic is a camera's by its name; choose with --topic {others[0]}={camera_of(others[0])}."


def driver_notes(info: BagInfo, topics: Container[str]) -> Iterator[str]:
    """Yield a sentence for each of these topics that several nodes published."""
    for entry in info.topics:
        if entry.topic in topics and entry.writers > 1:
            yield (
                f"{entry.writers} nodes published {entry.topic} while it was recorded; only one may, or two cameras are "
                "mixed into one."
            )


def topic_options(topics: Mapping[str, str]) -> str:
    """The options that choose these topics (topic -> camera)."""
    return " ".join(f"--topic {topic}={camera}" for topic, camera in topics.items())


def lost_note(name: str, promised: int, read: int) -> str:
    """How many messages are promised and not read, as a sentence; empty if none is missing."""
    if read >= promised:
        return ""
    return f"{name}: {promised - read} of the {promised} messages that it should hold cannot be read."
