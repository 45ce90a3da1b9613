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
    from cache.merge import merge_stores
    from cache.pack import pack_store
    from cache.parts import ClipKey, Part, PartStore
    from cache.record import CompletionRecord
    from cache.row_source import FeaturesSource, RowSource
    from cache.rows import ClipRows, LoadedFeatures
    from cache.spec import FeatureSpec, StreamSpec
    from cache.store import FeatureStore
    from cache.store_writer import write_store

__all__ = [
    "CacheError",
    "ClipFeatures",
    "ClipKey",
    "ClipRows",
    "CompletionRecord",
    "CorruptFeatureError",
    "FeatureSpec",
    "FeatureStore",
    "FeaturesSource",
    "IncompleteStoreError",
    "LoadedFeatures",
    "Part",
    "PartStore",
    "RowSource",
    "SettingsError",
    "StaleFeatureError",
    "StorageError",
    "StoreFormatError",
    "StreamSpec",
    "UnknownClipError",
    "merge_stores",
    "pack_store",
    "write_store",
]

_MODULES = {
    "ClipFeatures": "features",
    "ClipKey": "parts",
    "ClipRows": "rows",
    "CompletionRecord": "record",
    "FeatureSpec": "spec",
    "FeatureStore": "store",
    "FeaturesSource": "row_source",
    "LoadedFeatures": "rows",
    "Part": "parts",
    "PartStore": "parts",
    "RowSource": "row_source",
    "StreamSpec": "spec",
    "merge_stores": "merge",
    "pack_store": "pack",
    "write_store": "store_writer",
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
