"""The errors that `mprnet` raises for a caller's mistake; each says what was got, what was expected, what to do."""


class MPRNetError(Exception):
    """Base of every error of this package that a user can cause and mend."""


class ConfigError(MPRNetError, ValueError):
    """A hyper-parameter, recipe entry or option is outside what the network or the command can do."""


class CheckpointError(MPRNetError, ValueError):
    """A weights file is unreadable, unsafe, of another architecture, or does not fit its network."""


class ImageError(MPRNetError, ValueError):
    """A picture cannot be read, is too large, of an unsupported kind, or cannot be written."""


class VideoError(ImageError):
    """A video cannot be read, is of an unsupported kind, or cannot be written."""


class DataError(MPRNetError, ValueError):
    """A data folder is missing, empty or incomplete, or its pairs do not match."""


class TrainingError(MPRNetError, RuntimeError):
    """Training cannot go on: the loss is not finite or far off, or a run cannot be resumed."""


class ExportError(MPRNetError, RuntimeError):
    """An exported file is missing, cannot be read or written, or gives other pictures than its network."""


class MissingExtraError(MPRNetError, ImportError):
    """An optional package is needed; the message names the `pip install` that brings it."""
