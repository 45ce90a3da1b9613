"""Errors of submission files."""

from __future__ import annotations

from pipeline.errors import PipelineError


class SubmissionError(PipelineError):
    """A sample file that is none, predictions that do not cover it, or a submission file that is wrong."""
