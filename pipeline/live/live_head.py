"""A checkpoint that can answer while the picture is still coming in."""

from __future__ import annotations

from pathlib import Path

import torch

from pipeline.live.look_ahead import NOTABLE_SHARE, look_ahead_share
from pipeline.live.trailing_window import TrailingWindow
from tagf_head.checkpoint import Checkpoint, CheckpointInfo, load_checkpoint
from tagf_head.errors import CheckpointError

_ANCHOR = "audio.anchor"
_SUBJECT = "faces.subject"


def load_live_head(path: Path, *, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint whose features know nothing of what follows a frame.

    Raises:
        CheckpointError: The checkpoint cannot be used, or its features' sound reaches beyond the frame.
    """
    checkpoint = load_checkpoint(path, device=device)
    anchor = checkpoint.info.spec.settings.get(_ANCHOR)
    if anchor != "end":
        raise CheckpointError(
            f"{path}: expected a head trained on features with extract.audio.anchor 'end', whose sound ends "
            f"at the frame, found {anchor!r}; extract and train with 'end' (settings: configs/live.yaml)"
        )
    return checkpoint


def notes_on(checkpoint: Checkpoint) -> list[str]:
    """What a user of a live prediction should know of the head, a line each."""
    info, notes = checkpoint.info, []
    share = look_ahead_share(checkpoint)
    if share >= NOTABLE_SHARE:
        notes.append(
            f"this head looks ahead: {share:.0%} of what moves an answer within a window lies behind the "
            "frame. Live there is nothing behind it, so expect less than 'tagf evaluate' says; for a causal "
            "head, train with configs/live.yaml"
        )
    if info.random_weights:
        notes.append("the backbones have random weights: these values say nothing about real faces")
    notes += _notes_on_subject(info)
    return notes


def _notes_on_subject(info: CheckpointInfo) -> list[str]:
    subject = info.spec.settings.get(_SUBJECT)
    if subject in ("longest", "all"):
        return [
            f"the features are of faces.subject {subject!r}, which is known only when a clip has ended; live "
            "follows the largest face"
        ]
    return []


def trailing_window(checkpoint: Checkpoint) -> TrailingWindow:
    """The window of a head, empty."""
    settings = checkpoint.info.train
    return TrailingWindow(
        checkpoint.head,
        settings.window,
        visual_features=settings.head.visual_features,
        audio_features=settings.head.audio_features,
        device=next(checkpoint.head.parameters()).device,
    )
