"""Errors that cross the border between processes: a name of a known kind, and a message."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from pipeline import errors

# Kinds that one string makes; of any other, the nearest base class that is among them stands for it.
_BUILT_IN = (Exception, MemoryError, OSError, RuntimeError, TypeError, ValueError)
_KINDS: Mapping[str, type[Exception]] = {
    **{kind.__name__: kind for kind in _BUILT_IN},
    **{name: vars(errors)[name] for name in errors.__all__ if "__init__" not in vars(vars(errors)[name])},
}


def error_fields(error: Exception) -> dict[str, Any]:
    """An error as JSON can hold it."""
    return {"kinds": [kind.__name__ for kind in type(error).__mro__], "message": str(error)}


def error_of(fields: Mapping[str, Any]) -> Exception:
    """The error again: of the same kind where that is known here, else of the nearest of its base classes.

    Args:
        fields: From `error_fields`.
    """
    kinds, message = fields["kinds"], fields["message"]
    for name in kinds:
        kind = _KINDS.get(name)
        if name == "OutOfMemoryError" and "torch" in sys.modules:
            kind = sys.modules["torch"].OutOfMemoryError
        if kind is not None:
            return kind(message if name == kinds[0] else f"{kinds[0]}: {message}")
    return RuntimeError(f"{kinds[0]}: {message}")
