"""The recording's time: how it passes, who hears it, and that it may jump back."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

from rclpy.node import Node
from rclpy.parameter import Parameter

from ls_ood_monitor.errors import ConfigError, DataError
from ls_ood_monitor.ros.bag_clock import BagClock, check_only_clock, clock_message, clock_publisher
from ls_ood_monitor.ros.conversions import stamp_to_ns
from ls_ood_monitor.ros.player import wait_for_subscribers
from ls_ood_monitor.ros.processes import wait_until

START = 1_700_000_000 * 10**9


def test_time_passes_at_its_rate_and_is_published():
    """0.4 s of a recording at twice the speed: published from start to end, never back, at most a hundred times a second."""
    published: list[int] = []
    clock = BagClock(2.0, published.append)
    assert clock.now_ns() == 0
    clock.start(START)
    clock.wait_until(START + 4 * 10**8)
    assert clock.now_ns() >= START + 4 * 10**8
    assert published[0] == START
    assert published == sorted(published)
    assert 3 <= len(published) <= 40  # 0.1 s before the first message and 0.2 s of playing
    ago_ns = clock.now_ns() - clock.now_ns(10**8)
    assert 1.5e8 < ago_ns < 2.1e8
    assert clock.now_ns(10**12) == START
    before = len(published)
    clock.go_on(0.1)
    assert len(published) > before
    clock.start(START)
    assert published[-1] == START


def test_a_node_with_simulated_time_lives_in_it(spin):
    """Its clock is the recording's, and goes back with it."""
    player = spin(Node("clock_player"))
    listener = spin(Node("clock_listener", parameter_overrides=[Parameter("use_sim_time", value=True)]))
    publisher = clock_publisher(player)
    wait_for_subscribers({"/clock": publisher}, 15.0)
    clock = BagClock(1.0, lambda bag_ns: publisher.publish(clock_message(bag_ns)))
    for begin_ns in (START, START - 50 * 10**9):
        clock.start(begin_ns)
        clock.go_on(0.3)
        wait_until(lambda begin_ns=begin_ns: 0 <= listener.get_clock().now().nanoseconds - begin_ns < 10**9, "its time")
    check_only_clock(player)
    clock_publisher(listener)
    wait_until(lambda: player.count_publishers("/clock") == 2, "the second clock")
    with pytest.raises(DataError, match="/clock has 1 other publishers; end them"):
        check_only_clock(player)


def test_without_a_listener_the_cure_is_named(spin):
    """Nodes on the wall's clock would judge the recording's stamps by it."""
    publisher = clock_publisher(spin(Node("lonely_clock")))
    with pytest.raises(DataError, match="use_sim_time:=true"):
        wait_for_subscribers({"/clock": publisher}, 0.1)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate):
    """Time must pass forwards, and in finite steps."""
    with pytest.raises(ConfigError, match="rate is"):
        BagClock(rate)


def test_the_message_holds_the_nanoseconds():
    """Seconds and nanoseconds together are the time."""
    assert stamp_to_ns(clock_message(START + 123_456_789).clock) == START + 123_456_789
