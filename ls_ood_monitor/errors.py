"""Errors a user can cause or cure. Each message says what, which rule, the value, and what to do.

The command line prints a ``MonitorError`` as one line and exits with 2; the nodes turn it into *not OK*.
Anything else that escapes is a defect of this package and keeps its traceback.
"""


class MonitorError(Exception):
    """Base of every error that this package raises on purpose."""


class ImageError(MonitorError):
    """A camera message that cannot be turned into a frame."""


class BundleError(MonitorError):
    """A bundle that is missing, truncated, altered or made by an incompatible version."""


class CalibrationError(MonitorError):
    """Data that cannot support the calibration asked of them."""


class DataError(MonitorError):
    """A recording, data set or file on disk that cannot be used as asked."""


class ConfigError(MonitorError, ValueError):
    """A setting outside its documented range."""


class SettingError(ConfigError):
    """A setting that breaks a rule.

    Attributes:
        owner: class of the settings.
        setting: its name.
        fault: value and rule, the sentence that follows the name.
    """

    def __init__(self, owner: str, setting: str, fault: str) -> None:
        super().__init__(owner, setting, fault)
        self.owner, self.setting, self.fault = owner, setting, fault

    def __str__(self) -> str:
        return f"{self.owner}.{self.setting} {self.fault}"
