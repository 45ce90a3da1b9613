"""A store written out for others: HDF5, npy files, Parquet.

HDF5 and npy exports carry everything that a store has; `cache.imports` makes the same store of them again,
byte for byte.
"""

from cache.exports.store_export import EXPORT_FORMATS, export_store

__all__ = ["EXPORT_FORMATS", "export_store"]
