"""What goes wrong in stage one, as one family of exceptions.

Each message says, on one line, what is wrong and where, what was expected, what was found, and what to do
about it.
"""

from __future__ import annotations

__all__ = [
    "BackboneServerError",
    "ClipProcessError",
    "EngineError",
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


class ClipProcessError(PipelineError):
    """The process that worked on a clip hung, swelled or died.

    Attributes:
        stage: What it was doing.
    """

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


class EngineError(PipelineError):
    """Workers that cannot be had."""


class BackboneServerError(ExtractionError):
    """The process that runs the networks for others cannot be reached, or has died: no clip can go on."""
