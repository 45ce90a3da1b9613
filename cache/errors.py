"""What can go wrong with settings, parts and stores, for people to read.

Each message is one line: what, where, expected, got, remedy.
"""

from __future__ import annotations


class CacheError(ValueError):
    """Base of every error that this package raises for a user's mistake or for damaged data."""


class SettingsError(CacheError):
    """A setting is misspelt, missing or impossible.

    Args:
        message: For the user.
        unknown: Name of a setting that does not exist where it was given and resembles none there.
    """

    def __init__(self, message: str, *, unknown: str | None = None) -> None:
        super().__init__(message)
        self.unknown = unknown


class StoreFormatError(CacheError):
    """What lies there is not a feature store, or not one of a version that this program reads."""


class IncompleteStoreError(CacheError):
    """A store lacks its completion record, or an object that the record lists."""


class StaleFeatureError(CacheError):
    """Features were extracted with other settings than those asked for."""


class CorruptFeatureError(CacheError):
    """Stored features are damaged: a checksum does not fit, or a file is cut short."""


class UnknownClipError(CacheError):
    """No such clip in a store, or no such part in a work directory."""


class StorageError(CacheError):
    """The disk does not take what is to be written: it is full, read-only, or not ours to write."""
