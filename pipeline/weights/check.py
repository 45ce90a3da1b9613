"""Whether a checkpoint is the published one, and whether its tensors fit a backbone."""

from __future__ import annotations

from pathlib import Path

from cache.file_digest import file_digest
from pipeline.backbones import load_backbone
from pipeline.errors import WeightsError
from pipeline.weights.registry import (
    RegisteredWeights,
    how_to_get,
    verify_file,
    weights_path,
)


def check_registered(weights: RegisteredWeights) -> str:
    """Check registered weights where they lie.

    Returns:
        The file's own SHA-256.

    Raises:
        WeightsError: The file is missing, another one than published, or does not fit.
    """
    path = weights_path(weights)
    if not path.is_file():
        raise WeightsError(f"{weights.name}: not at hand; {how_to_get(weights)}")
    digest = verify_file(weights, path)
    load_backbone(weights.backbone, str(path))
    return digest


def check_file(path: Path, backbone: str, input_size_px: int | None = None) -> str:
    """Check any checkpoint.

    Args:
        path: The file.
        backbone: What it is for.
        input_size_px: Side of the faces; None for the usual one.

    Returns:
        The file's SHA-256.

    Raises:
        WeightsError: The file is missing, damaged, or does not fit.
    """
    load_backbone(backbone, str(path), input_size_px=input_size_px)
    return file_digest(path)
