"""What goes wrong where media are made worse."""

from __future__ import annotations

from pipeline.errors import PipelineError


class DegradationError(PipelineError):
    """A degradation that does not exist, or of clips that it cannot be applied to."""
