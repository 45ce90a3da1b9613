"""`write_report`: a run, or a folder of predictions, as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cache.atomic_file import make_directory, replacement_of
from pipeline.errors import PipelineError
from pipeline.report import clip_cells, page_texts
from pipeline.report.clip_media import VideoChoice, link_to
from pipeline.report.embedded_video import embeddable
from pipeline.report.errors import ReportError
from pipeline.report.page import render_page
from pipeline.report.remedies import remedies
from pipeline.report.report_content import ReportContent, ReportSources, gather

_SECTIONS = (
    ("summary", "Summary"),
    ("training", "Training"),
    ("clips", "Clips"),
    ("clip", "Traces"),
    ("gates", "Gates"),
    ("robustness", "Robustness"),
    ("comparison", "Comparison"),
    ("provenance", "Provenance"),
)
_NO_VIDEO = {
    "none": "This page was made without videos (--videos none).",
    "link": "The clip's video is not at hand. Name the videos: tagf report ... --media FOLDER",
}


def write_report(sources: ReportSources, out: Path, *, videos: VideoChoice = "link") -> ReportContent:
    """Write the page.

    Args:
        sources: Where its parts lie.
        out: The HTML file; replaced in one step.
        videos: Whether videos are played from where they lie, carried by the page, or left out.

    Returns:
        What the page shows.

    Raises:
        ReportError: Nothing to report on, a damaged file, or no room for the page.
        HeadError: Predictions or labels are damaged, or do not fit together.
        PipelineError: The source of the videos is wrong, or one cannot be read for embedding.
    """
    content = gather(sources)
    embedded: list[tuple[int, str, bytes]] = []
    shown: dict[int, dict[str, Any]] = {}
    for index, path in content.media.items() if videos != "none" else ():
        if videos == "link":
            shown[index] = {"url": link_to(path, out), "offset": 0.0}
        else:
            try:
                video = embeddable(path)
            except PipelineError as error:
                content.notes.append(f"A video is not on this page: {' '.join(str(error).split())}")
                continue
            embedded.append((index, video.mime_type, video.content))
            shown[index] = {"url": None, "offset": video.offset_s}
    page = render_page(
        _template_values(content, sources.folder, links_videos=videos == "link" and bool(shown)),
        _data(content, shown, _NO_VIDEO["none" if videos == "none" else "link"]),
        embedded=embedded,
        links_videos=videos == "link" and bool(shown),
    )
    try:
        make_directory(out.parent.absolute())
        with replacement_of(out) as file:
            file.write(page)
    except OSError as error:
        raise ReportError(
            f"{out} cannot be written ({error.strerror or error}); make room or choose another place"
        ) from error
    return content


def _template_values(content: ReportContent, folder: Path, *, links_videos: bool) -> dict[str, Any]:
    metrics = content.metrics
    columns = clip_cells.columns(content.rows) if content.rows else []
    names = [column["name"] for column in columns]
    calibration = page_texts.calibration_lines(metrics) if metrics else None
    gates = [traces["gates"] for traces in content.traces.values()]
    comparison = content.comparison
    return {
        "name": content.name,
        "sections": _SECTIONS,
        "is_prediction": content.is_prediction,
        "lead": page_texts.lead(content),
        "random_weights": content.provenance.random_weights,
        "notes": content.notes,
        "metrics": metrics,
        "cards": list(page_texts.cards(metrics)) if metrics else [],
        "metric_lines": page_texts.metric_lines(metrics) if metrics else [],
        "metric_notes": list(page_texts.metric_notes(metrics)) if metrics else [],
        "has_calibration": calibration is not None,
        "calibration_notes": list(page_texts.calibration_notes(metrics)) if metrics and calibration else [],
        "training_note": page_texts.training_note(content),
        "columns": columns,
        "rows": [
            {
                "clip_id": row.clip_id,
                "error": row.error,
                "is_shown": index in content.traces,
                "cells": clip_cells.cells(row, names),
            }
            for index, row in enumerate(content.rows)
        ],
        "clips_note": clip_cells.clips_note(content.rows),
        "has_traces": bool(content.traces),
        "has_labels": content.has_labels,
        "has_deviation": any(traces["valence"]["sd"] for traces in content.traces.values()),
        "has_gates": any(gates),
        "gate_note": page_texts.gate_note(metrics),
        "has_robustness": content.robustness is not None,
        "robustness_note": page_texts.robustness_note(content),
        "comparison": comparison,
        "comparison_note": page_texts.comparison_note(content),
        "facts": content.provenance.facts,
        "settings": content.provenance.settings,
        "remedies": remedies(content, folder),
        "links_videos": links_videos,
    }


def _data(content: ReportContent, videos: dict[int, dict[str, Any]], video_remedy: str) -> dict[str, Any]:
    best = dict(content.provenance.facts).get("Best epoch")
    return {
        "names": [row.clip_id for row in content.rows],
        "facts": [clip_cells.clip_facts(row) for row in content.rows],
        "traces": content.traces,
        "videos": videos,
        "video_remedy": video_remedy,
        "training": content.training,
        "best_epoch": int(best) if best is not None and len(content.training) == 1 else None,
        "calibration": page_texts.calibration_lines(content.metrics) if content.metrics else None,
        "robustness": content.robustness,
        "comparison": content.comparison,
    }
