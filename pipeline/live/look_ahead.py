"""How much a head's answers look ahead, found by trying: it works for any head.

Rows behind a frame are replaced, then rows before it; what moves the frame's answer, it has looked at. A
causal TCN alone gives 0. Joint cross-attention sums over its window, which leaves TAGF with causal TCNs a few
per cent; symmetric convolutions, LSTMs that run both ways and transformers give about a half.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tagf_head.checkpoint import Checkpoint, weights_dtype
from tagf_head.heads import Head

# From here on a head is said to look ahead: TAGF with causal TCNs lies below, everything symmetric above.
NOTABLE_SHARE = 0.1
_TRIALS = 8


@torch.inference_mode()
def look_ahead_share(checkpoint: Checkpoint) -> float:
    """Of what moves the answer in the middle of a window, the share that lies behind the frame.

    Args:
        checkpoint: A head and its settings.

    Returns:
        0 for a head that sees no later frame, a half for one that sees as much of both sides.
    """
    head, settings = checkpoint.head, checkpoint.info.train
    device = next(head.parameters()).device
    generator = torch.Generator().manual_seed(0)
    shape = (_TRIALS, settings.window)
    widths = (settings.head.visual_features, settings.head.audio_features)

    def random_rows() -> list[Tensor]:
        rows = (torch.randn(*shape, width, generator=generator) for width in widths)
        return [each.to(device, weights_dtype(settings)) for each in rows]

    rows, others = random_rows(), random_rows()
    frame_mask = torch.ones(shape, dtype=torch.bool, device=device)
    middle = settings.window // 2
    known = _answers(head, rows, frame_mask)[:, middle]

    def change(which: slice) -> float:
        moved = [each.clone() for each in rows]
        for each, other in zip(moved, others, strict=True):
            each[:, which] = other[:, which]
        answers = _answers(head, moved, frame_mask)[:, middle]
        return float((answers - known).square().mean().sqrt())

    later, earlier = change(slice(middle + 1, None)), change(slice(0, middle))
    return later / (later + earlier) if later else 0.0


def _answers(head: Head, rows: list[Tensor], frame_mask: Tensor) -> Tensor:
    visual, audio = rows
    answers: Tensor = head(visual, audio, frame_mask)
    return answers
