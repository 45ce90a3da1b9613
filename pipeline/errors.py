"""What goes wrong in stage one, as one family of exceptions.

Each message says, on one line, what is wrong and where, what was expected, what was found, and what to do
about it.
"""

from __future__ import annotations

__all__ = [
    "ExtractionError",
    "FaceDetectionError",
    "ManifestError",
    "MediaError",
    "OutOfClipError",
    "PipelineError",
    "WeightsError",
]


class PipelineError(ValueError):
    """Anything that stage one reports to its user."""


class MediaError(PipelineError):
    """A media file that cannot be opened, is of a refused kind, or does not decode."""


class OutOfClipError(PipelineError):
    """A time at which a clip has no frame."""


class ManifestError(PipelineError):
    """A source folder or a list of clips that does not say what to extract."""


class FaceDetectionError(PipelineError):
    """Frames that the face detector cannot be given."""


class WeightsError(PipelineError):
    """Backbone weights that are missing, damaged or of another architecture."""


class ExtractionError(PipelineError):
    """A clip, or a run over clips, that could not be finished."""
