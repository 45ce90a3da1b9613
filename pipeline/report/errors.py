"""What goes wrong when a report is made."""

from __future__ import annotations

from pipeline.errors import PipelineError


class ReportError(PipelineError):
    """A folder that holds nothing to report on, or a file in it that cannot be read."""
