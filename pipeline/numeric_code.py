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
    "pipeline.alignment",
    "pipeline.audio",
    "pipeline.backbones",
    "pipeline.backbones.allocation",
    "pipeline.backbones.backbone",
    "pipeline.backbones.calibration_inputs",
    "pipeline.backbones.checkpoint_tensors",
    "pipeline.backbones.inception_resnet",
    "pipeline.backbones.ir50",
    "pipeline.backbones.random_weights",
    "pipeline.backbones.resnet50",
    "pipeline.backbones.vggish",
    "pipeline.container",
    "pipeline.embedding",
    "pipeline.extract",
    "pipeline.face_tracks",
    "pipeline.faces",
    "pipeline.log_mel",
    "pipeline.resampler",
    "pipeline.threads",
    "pipeline.timeline",
    "pipeline.video",
    "pipeline.weights",
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
    place = Path(__file__).parent.joinpath(*name.split(".")[1:])
    return (place / "__init__.py" if place.is_dir() else place.with_suffix(".py")).read_bytes()
