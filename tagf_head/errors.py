"""Errors of stage two.

All are ValueErrors whose message is one line: what, where, expected, got, remedy.
"""

from __future__ import annotations


class HeadError(ValueError):
    """A user's mistake, or damaged input, that a head, its training or its evaluation met."""


class UnknownHeadError(HeadError):
    """A head's name that is not in the registry."""


class AnnotationError(HeadError):
    """Annotations that are missing, malformed or do not fit the features."""


class CheckpointError(HeadError):
    """A checkpoint that is missing, damaged or made for another head or other features."""


class TrainingError(HeadError):
    """Training that cannot start or cannot go on."""
