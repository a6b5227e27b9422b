"""Whether a bundle is the one that a vehicle asks for, and was calibrated on its cameras."""

from __future__ import annotations

from ..config import PerceptionNodeSettings
from ..errors import BundleError
from ..monitor import OodMonitor

#: Digits of a bundle's identity that are enough to name it.
_MIN_HASH_DIGITS = 12


def check_fit(monitor: OodMonitor, settings: PerceptionNodeSettings) -> None:
    """Refuse a bundle that is not the one asked for, or was not calibrated on these cameras. Raises ``BundleError``."""
    wanted = settings.bundle_sha256.lower()
    if wanted and (len(wanted) < _MIN_HASH_DIGITS or not monitor.bundle_id.startswith(wanted)):
        raise BundleError(
            f"the bundle is {monitor.bundle_id}, the parameter bundle_sha256 asks for {wanted} (at least "
            f"{_MIN_HASH_DIGITS} digits); set bundle_path to the right one, or the parameter to what was approved."
        )
    uncalibrated = uncalibrated_cameras(monitor, settings)
    if settings.require_calibrated_cameras and uncalibrated:
        raise BundleError(f"{uncalibrated} (require_calibrated_cameras); calibrate on drives of these cameras.")


def uncalibrated_cameras(monitor: OodMonitor, settings: PerceptionNodeSettings) -> str:
    """Which cameras the bundle was not calibrated on, as a sentence; empty where it was calibrated on all."""
    missing = [name for name in settings.cameras if name not in monitor.cameras]
    if not missing:
        return ""
    known = ", ".join(monitor.cameras) or "unknown cameras"
    return f"the bundle was calibrated on {known}, not on {', '.join(missing)}"
