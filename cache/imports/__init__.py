"""Stores from files of other forms: from this program's exports, and from what other toolkits left."""

from cache.imports.exported_clips import export_format, import_export
from cache.imports.foreign_import import import_features
from cache.imports.foreign_layout import IMPORT_FORMATS, TIME_UNITS, ForeignLayout, ForeignStream

__all__ = [
    "IMPORT_FORMATS",
    "TIME_UNITS",
    "ForeignLayout",
    "ForeignStream",
    "export_format",
    "import_export",
    "import_features",
]
