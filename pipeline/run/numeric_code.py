"""Digest of the code that makes the numbers.

It is provenance, not fingerprint: a changed digest says that the rows *may* have changed, and the runner
finds out by extracting some clips again.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

# Every module whose code decides a value in a row; not those that find, schedule, store or report.
NUMERIC_MODULES = (
    "pipeline.backbones",
    "pipeline.backbones.allocation",
    "pipeline.backbones.backbone",
    "pipeline.backbones.backbone_facts",
    "pipeline.backbones.calibration_inputs",
    "pipeline.backbones.checkpoint_tensors",
    "pipeline.backbones.clip_stream",
    "pipeline.backbones.folding",
    "pipeline.backbones.inception_resnet",
    "pipeline.backbones.ir50",
    "pipeline.backbones.random_weights",
    "pipeline.backbones.resnet50",
    "pipeline.backbones.user_backbone",
    "pipeline.backbones.vggish",
    "pipeline.embedding",
    "pipeline.extract",
    "pipeline.face_views",
    "pipeline.faces.alignment",
    "pipeline.faces.choice",
    "pipeline.faces.crop",
    "pipeline.faces.cropped_faces",
    "pipeline.faces.detector",
    "pipeline.faces.exact_pooling",
    "pipeline.faces.scene_cuts",
    "pipeline.faces.sightings",
    "pipeline.faces.track_links",
    "pipeline.faces.track_spill",
    "pipeline.faces.tracks",
    "pipeline.frame_blocks",
    "pipeline.input_blocks",
    "pipeline.media.audio",
    "pipeline.media.container",
    "pipeline.media.log_mel",
    "pipeline.media.resampler",
    "pipeline.media.row_times",
    "pipeline.media.sound_buffer",
    "pipeline.media.sound_windows",
    "pipeline.media.timeline",
    "pipeline.media.video",
    "pipeline.models",
    "pipeline.row_blocks",
    "pipeline.stream_facts",
    "pipeline.threads",
    "pipeline.weights.source",
)


@cache
def code_digest() -> str:
    """SHA-256 over names and sources of the numeric modules, 64 hexadecimal digits."""
    return digest_sources({name: _source(name) for name in NUMERIC_MODULES})


def digest_sources(sources: dict[str, bytes]) -> str:
    """SHA-256 over modules by name; their order and the style of their line ends do not count."""
    digest = hashlib.sha256()
    for name in sorted(sources):
        source = sources[name].replace(b"\r\n", b"\n")
        # Lengths keep the end of one piece from being read as the start of the next.
        digest.update(f"{name} {len(source)}\n".encode())
        digest.update(source)
    return digest.hexdigest()


def _source(name: str) -> bytes:
    """Source of a module, read without importing it, which would import torch."""
    place = Path(__file__).parents[1].joinpath(*name.split(".")[1:])
    return (place / "__init__.py" if place.is_dir() else place.with_suffix(".py")).read_bytes()
