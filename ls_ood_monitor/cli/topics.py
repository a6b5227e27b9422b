"""Options TOPIC=CAMERA of the commands that read recordings."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigError


def parse_topics(options: Sequence[str] | None) -> dict[str, str] | None:
    """Topic -> camera, from options such as ``/front/image=front``; None without options. Raises ``ConfigError``."""
    if not options:
        return None
    topics = {}
    for option in options:
        topic, separator, camera = option.partition("=")
        if not separator or not topic.startswith("/") or not camera:
            raise ConfigError(f"--topic is {option!r}; give TOPIC=CAMERA, for example /front/image=front.")
        topics[topic] = camera
    return topics
