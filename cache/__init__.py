"""Extracted features between the two stages: specs, parts and the packed store. Never imports torch.

The names below are loaded when they are first used, so that `import cache` costs next to nothing: numpy and
zarr take half a second that `tagf --help` has no use for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cache.errors import (
        CacheError,
        CorruptFeatureError,
        IncompleteStoreError,
        SettingsError,
        StaleFeatureError,
        StorageError,
        StoreFormatError,
        UnknownClipError,
    )
    from cache.features import ClipFeatures
    from cache.pack import pack_store
    from cache.parts import ClipKey, Part, PartStore
    from cache.rows import ClipRows, LoadedFeatures
    from cache.spec import FeatureSpec, StreamSpec
    from cache.store import FeatureStore

__all__ = [
    "CacheError",
    "ClipFeatures",
    "ClipKey",
    "ClipRows",
    "CorruptFeatureError",
    "FeatureSpec",
    "FeatureStore",
    "IncompleteStoreError",
    "LoadedFeatures",
    "Part",
    "PartStore",
    "SettingsError",
    "StaleFeatureError",
    "StorageError",
    "StoreFormatError",
    "StreamSpec",
    "UnknownClipError",
    "pack_store",
]

_MODULES = {
    "ClipFeatures": "features",
    "ClipKey": "parts",
    "ClipRows": "rows",
    "FeatureSpec": "spec",
    "FeatureStore": "store",
    "LoadedFeatures": "rows",
    "Part": "parts",
    "PartStore": "parts",
    "StreamSpec": "spec",
    "pack_store": "pack",
}


def __getattr__(name: str) -> object:
    """Load a name of `__all__` from its module at first use (PEP 562); what is not listed is an error."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
