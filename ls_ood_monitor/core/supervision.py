"""Alarms of all cameras over time -> the fallback mode of the vehicle. The worst camera wins; missing input means STOP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from numbers import Integral, Real

from ..config import SupervisorSettings
from ..errors import ConfigError
from .causes import HOLDING, QUALIFYING, Cause, CauseKind
from .transit import TransitDelay
from .types import Alarm, AlarmState, Decision, FallbackMode

#: Senders whose delay is remembered, more than a vehicle has.
_MAX_SENDERS = 100


@dataclass(frozen=True)
class CameraStatus:
    """What one camera calls for.

    Attributes:
        camera: name.
        mode: its demand.
        cause: why.
        age_s: time since its last alarm message; None when never heard.
        is_ood: it was judged, and is out of distribution.
    """

    camera: str
    mode: FallbackMode
    cause: Cause
    age_s: float | None
    is_ood: bool = False


class Supervisor:
    """Remembers the last alarm of each camera and decides on demand, at times given by the caller (ns).

    It commands STOP while any of these holds:

    - a camera was never heard, or has not been clear yet;
    - a camera is silent for longer than ``alarm_timeout_s``;
    - an alarm contradicts itself;
    - an alarm came from a camera that is not configured, or something came that is no alarm, within the timeout;
    - two processes send alarms of one camera: either may be wrong.

    A camera that called for a stop releases it only by being clear. The mode rises at once and falls one step at a time,
    each held for its least time. An optional camera asks for SLOW at most. With ``cameras_to_stop`` = N, fewer
    than N cameras out of distribution only slow the vehicle, if each was clear before. ``observe`` and ``decide`` never
    raise: a safety function must answer.

    The age of an alarm includes the delay of its message, where the message says when it was sent. An alarm that repeats
    the last frame does not count as new. So what DDS delivers late, after a stall or a loss, does not look fresh.

    Raises:
        ConfigError: on construction, when optional cameras are none of the cameras, or all of them, or when more cameras
            are needed to stop than are required.
    """

    def __init__(self, settings: SupervisorSettings, cameras: Sequence[str]) -> None:
        self.settings = settings
        self.cameras = tuple(dict.fromkeys(cameras))
        self.optional = frozenset(filter(None, settings.optional_cameras))
        if unknown := sorted(self.optional - set(self.cameras)):
            raise ConfigError(
                f"optional_cameras names {', '.join(unknown)}, but cameras are {', '.join(self.cameras) or 'none'}."
            )
        if self.cameras and self.optional == set(self.cameras):
            raise ConfigError(
                "optional_cameras names every camera: the vehicle would move before any was heard; leave at least one out."
            )
        required = len(self.cameras) - len(self.optional)
        if self.cameras and settings.cameras_to_stop > required:
            raise ConfigError(
                f"cameras_to_stop is {settings.cameras_to_stop}, but {required} cameras are required: nothing that they see "
                "would stop the vehicle."
            )
        self._latched: Cause | None = None
        self._was_released = False
        self._restart(Cause(CauseKind.NEVER_HEARD))

    def _restart(self, why: Cause) -> None:
        self._unheard_cause = why
        self._heard: dict[str, tuple[Alarm, int]] = {}
        self._newest_ns: dict[str, int] = {}
        self._sources: dict[str, dict[str, int]] = {}
        self._transit: dict[tuple[str, str], TransitDelay] = {}
        self._cleared: set[str] = set()  # cameras that were clear and have not called for a stop since
        self._ood_since_clear: set[str] = (
            set()
        )  # cameras that went from clear to a stop for OoD, without a fault; only these may be outvoted
        self._protocol_violation: tuple[Cause, int] | None = None
        self._now_ns: int | None = None
        self._decision: Decision | None = None

    def observe(self, alarm: Alarm, now_ns: int) -> None:
        """Take in one alarm, received at ``now_ns`` in the caller's clock."""
        self._restart_if_clock_went_back(now_ns)
        self._record_demand(now_ns)  # before this alarm ends a silence, which was a stop, too
        if not _is_well_formed(alarm):
            self._protocol_violation = (Cause(CauseKind.NO_ALARM, detail=f"{alarm!r:.200}"), now_ns)
        elif alarm.camera not in self.cameras:
            known = ", ".join(self.cameras)
            cause = Cause(CauseKind.UNKNOWN_CAMERA, alarm.camera, expected=known, underlying=alarm.cause)
            self._protocol_violation = (cause, now_ns)
        else:
            self._accept(alarm, now_ns)
        mode, cause = self._record_demand(now_ns)
        # An OoD alarm is an incident even before the first release.
        if mode is FallbackMode.STOP and any(status.is_ood for status in self.statuses(now_ns)):
            self._latched = cause

    def decide(self, now_ns: int) -> Decision:
        """Return the fallback mode at ``now_ns``.

        A clock that runs backwards (looped recording, time reset) returns to the start: STOP until heard again.
        """
        self._restart_if_clock_went_back(now_ns)
        mode, cause = self._vehicle_demand(now_ns)
        self._latch_if_stop(mode, cause)
        if mode < FallbackMode.STOP and self.settings.stop_requires_reset and self._latched is not None:
            mode, cause = FallbackMode.STOP, _because_of(CauseKind.LATCHED, self._latched)
        self._decision = self._hold_min_time(mode, cause, now_ns)
        return self._decision

    def forget_alarms(self, why: Cause, now_ns: int) -> None:
        """The sender of the alarms is gone: STOP at once, until every camera is heard again."""
        self._restart_if_clock_went_back(now_ns)
        self._heard.clear()
        self._cleared.clear()
        self._ood_since_clear.clear()
        self._unheard_cause = why
        self._record_demand(now_ns)

    def reset(self, now_ns: int) -> Cause | None:
        """Release a latched STOP. Returns the cause that still demands it, with which the latch stays; None = released."""
        self._restart_if_clock_went_back(now_ns)
        mode, cause = self._vehicle_demand(now_ns)
        if mode is FallbackMode.STOP:
            return cause
        self._latched = None
        return None

    def statuses(self, now_ns: int) -> list[CameraStatus]:
        """The demand of each configured camera, in the configured order."""
        return [self._camera_status(camera, now_ns) for camera in self.cameras]

    def _accept(self, alarm: Alarm, now_ns: int) -> None:
        camera, before = alarm.camera, self._uncapped_status(alarm.camera, now_ns)
        if before.mode is FallbackMode.STOP and not before.is_ood:  # silence calls for a stop, too
            self._require_clear(camera)
        received_ns = now_ns - self._delay_ns(alarm, now_ns)
        self._sources[camera] = {**self._recent_sources(camera, now_ns), alarm.source: now_ns}
        if alarm.state is AlarmState.CLEAR and alarm.stamp_ns == self._newest_ns.get(camera):
            return  # the same frame again is no news, and the last alarm grows old
        self._heard[camera] = (self._reject_old_stamp(alarm), received_ns)
        now = self._uncapped_status(camera, now_ns)
        if now.mode is FallbackMode.STOP and now.is_ood:
            if camera in self._cleared:
                self._ood_since_clear.add(camera)
            self._cleared.discard(camera)
        elif now.mode is FallbackMode.STOP:
            self._require_clear(camera)
        elif self._heard[camera][0].state is AlarmState.CLEAR:
            self._cleared.add(camera)
            self._ood_since_clear.discard(camera)

    def _delay_ns(self, alarm: Alarm, now_ns: int) -> int:
        """How much longer than the fastest alarm this one was on the way; 0 where its time of sending is not known."""
        if alarm.sent_ns <= 0:
            return 0
        known = self._transit
        transit = known.pop((alarm.camera, alarm.source), None) or TransitDelay()
        known[alarm.camera, alarm.source] = transit  # the newest last, so that the oldest gives way
        if len(known) > _MAX_SENDERS:
            del known[next(iter(known))]
        return transit.of(alarm.sent_ns, now_ns)

    def _require_clear(self, camera: str) -> None:
        self._cleared.discard(camera)
        self._ood_since_clear.discard(camera)

    def _record_demand(self, now_ns: int) -> tuple[FallbackMode, Cause]:
        """The demand now. A stop between two decisions counts for the latch and for its least time, too."""
        mode, cause = self._vehicle_demand(now_ns)
        self._latch_if_stop(mode, cause)
        if mode is FallbackMode.STOP and self._decision is not None:
            self._decision = self._hold_min_time(mode, cause, now_ns)
        return mode, cause

    def _hold_min_time(self, mode: FallbackMode, cause: Cause, now_ns: int) -> Decision:
        """The decision for a demand: the mode rises at once, and falls one step at a time after its least time."""
        last = self._decision
        if last is None or mode > last.mode:
            return Decision(mode, cause, now_ns)
        if mode is last.mode:
            return Decision(mode, cause, last.since_ns)
        least_s = {FallbackMode.STOP: self.settings.min_stop_s, FallbackMode.SLOW: self.settings.min_slow_s}
        at, since = last.mode, last.since_ns
        while at > mode and now_ns - since >= least_s[at] * 1e9:
            at, since = FallbackMode(at - 1), now_ns
        if at is mode:
            return Decision(mode, cause, since)
        return Decision(at, _because_of(CauseKind.MIN_TIME, cause, limit=least_s[at], detail=at.name), since)

    def _reject_old_stamp(self, alarm: Alarm) -> Alarm:
        """The alarm, or a fault in its place when its frame is older than one judged before."""
        if alarm.stamp_ns <= 0:  # no frame: keep the newest stamp
            return alarm
        back_s = (self._newest_ns.get(alarm.camera, 0) - alarm.stamp_ns) / 1e9
        if back_s > 0.0 or not alarm.is_fault:  # that of a fault may lie ahead, and must not become the newest
            self._newest_ns[alarm.camera] = alarm.stamp_ns
        if back_s <= 0.0:
            return alarm
        cause = Cause(CauseKind.ALARM_OUT_OF_ORDER, alarm.camera, back_s)
        return replace(alarm, state=AlarmState.RAISED, cause=cause)

    def _latch_if_stop(self, mode: FallbackMode, cause: Cause) -> None:
        """Keep the cause of a stop for the latch; the stop at the start, before the first release, is no incident."""
        if mode < FallbackMode.STOP:
            self._was_released = True
        elif self._was_released:
            self._latched = cause

    def _restart_if_clock_went_back(self, now_ns: int) -> None:
        if self._now_ns is not None and now_ns < self._now_ns:
            cause = Cause(CauseKind.SUPERVISOR_CLOCK_BACK, value=(self._now_ns - now_ns) / 1e9)
            self._restart(cause)
            self._latch_if_stop(FallbackMode.STOP, cause)  # a jump of the clock must not open the latch
            self._decision = Decision(FallbackMode.STOP, cause, now_ns)
        self._now_ns = now_ns

    def _vehicle_demand(self, now_ns: int) -> tuple[FallbackMode, Cause]:
        limit_ns = self.settings.alarm_timeout_s * 1e9
        if not self.cameras:
            return FallbackMode.STOP, Cause(CauseKind.NO_CAMERA)
        if self._protocol_violation is not None and now_ns - self._protocol_violation[1] <= limit_ns:
            return FallbackMode.STOP, self._protocol_violation[0]
        statuses = self.statuses(now_ns)
        stops = [status for status in statuses if status.mode is FallbackMode.STOP]
        worst = max(statuses, key=lambda status: (status.mode, not status.is_ood))
        all_ood = all(status.is_ood and status.camera in self._ood_since_clear for status in stops)
        needed = self.settings.cameras_to_stop
        if stops and all_ood and len(stops) < needed:
            return FallbackMode.SLOW, _because_of(
                CauseKind.TOO_FEW_CAMERAS, worst.cause, value=len(stops), limit=needed
            )
        return worst.mode, worst.cause if worst.mode > FallbackMode.NOMINAL else Cause(CauseKind.ALL_CLEAR)

    def _camera_status(self, camera: str, now_ns: int) -> CameraStatus:
        """The camera's demand by its own alarm; of an optional one at most SLOW."""
        status = self._uncapped_status(camera, now_ns)
        if camera in self.optional and status.mode is FallbackMode.STOP:
            return replace(status, mode=FallbackMode.SLOW, cause=_because_of(CauseKind.OPTIONAL_CAMERA, status.cause))
        return status

    def _uncapped_status(self, camera: str, now_ns: int) -> CameraStatus:
        heard = self._heard.get(camera)
        if heard is None:
            return CameraStatus(camera, FallbackMode.STOP, replace(self._unheard_cause, camera=camera), None)
        alarm, received_ns = heard
        age_s = (now_ns - received_ns) / 1e9
        if (fault := self._distrust(alarm, age_s, now_ns)) is not None:
            return CameraStatus(camera, FallbackMode.STOP, fault, age_s)
        mode = self._mode_of(alarm)
        if mode < FallbackMode.STOP and alarm.state is not AlarmState.CLEAR and camera not in self._cleared:
            return CameraStatus(camera, FallbackMode.STOP, _because_of(CauseKind.NOT_CLEARED, alarm.cause), age_s)
        is_ood = alarm.state is AlarmState.RAISED and not alarm.is_fault
        return CameraStatus(camera, mode, alarm.cause, age_s, is_ood)

    def _mode_of(self, alarm: Alarm) -> FallbackMode:
        """What an alarm that can be trusted asks for."""
        if alarm.state is AlarmState.CLEAR:
            return FallbackMode.NOMINAL
        if alarm.state is AlarmState.PENDING:
            slows = self.settings.slow_on_pending or alarm.is_fault
            return FallbackMode.SLOW if slows else FallbackMode.NOMINAL
        raised_by = alarm.cause if alarm.cause.underlying is None else alarm.cause.underlying
        asked = {CauseKind.SUDDEN: self.settings.on_sudden, CauseKind.LASTING: self.settings.on_lasting}
        return FallbackMode[asked.get(raised_by.kind, "stop").upper()]

    def _distrust(self, alarm: Alarm, age_s: float, now_ns: int) -> Cause | None:
        """Why the camera's last alarm means STOP, whatever its state; None = its state counts."""
        camera, limit_s = alarm.camera, self.settings.alarm_timeout_s
        if age_s > limit_s:
            return Cause(CauseKind.SILENT, camera, age_s, limit_s)
        sources = sorted(self._recent_sources(camera, now_ns))
        if len(sources) > 1:
            return Cause(CauseKind.SEVERAL_SENDERS, camera, len(sources), 1, ", ".join(sources))
        if alarm.state is AlarmState.CLEAR and not _supports_clear(alarm):
            detail = f"stamp {alarm.stamp_ns} ns{' and a fault' if alarm.is_fault else ''}"
            return Cause(CauseKind.CONTRADICTION, camera, alarm.score, alarm.threshold, detail)
        return None

    def _recent_sources(self, camera: str, now_ns: int) -> dict[str, int]:
        """Processes that sent alarms of this camera lately, with the time of the last."""
        limit_ns = self.settings.alarm_timeout_s * 1e9
        return {source: at for source, at in self._sources.get(camera, {}).items() if now_ns - at <= limit_ns}


def _because_of(
    kind: CauseKind, underlying: Cause, *, value: float = nan, limit: float = nan, detail: str = ""
) -> Cause:
    """A cause that stands on another one, and keeps its camera."""
    return Cause(kind, underlying.camera, value, limit, detail, underlying=underlying)


def root_cause(cause: Cause) -> Cause:
    """What a cause goes back to: the alarm behind a latch, a least time, or an alarm that waits for good frames."""
    goes_back = QUALIFYING | HOLDING | {CauseKind.IN_DISTRIBUTION}
    while cause.underlying is not None and cause.kind in goes_back:
        cause = cause.underlying
    return cause


def _is_well_formed(alarm: object) -> bool:
    """Whether every field that is compared or computed with has its type: alarms come from other processes."""
    return (
        isinstance(alarm, Alarm)
        and isinstance(alarm.camera, str)
        and isinstance(alarm.state, AlarmState)
        and isinstance(alarm.stamp_ns, Integral)
        and isinstance(alarm.score, Real)
        and isinstance(alarm.threshold, Real)
        and isinstance(alarm.lasting_score, Real)
        and isinstance(alarm.lasting_threshold, Real)
        and isinstance(alarm.cause, Cause)
        and isinstance(alarm.source, str)
        and isinstance(alarm.sent_ns, Integral)
    )


def _supports_clear(alarm: Alarm) -> bool:
    """Whether the alarm's own numbers agree with CLEAR: a stamped frame, judged, within a finite threshold."""
    judged = isfinite(alarm.score) and isfinite(alarm.threshold) and not alarm.is_fault
    is_over = alarm.score > alarm.threshold or alarm.lasting_score > alarm.lasting_threshold
    return judged and not is_over and alarm.stamp_ns > 0
