"""Whether a head of one's own says what a `Head` has to say, seen before hours of training."""

from __future__ import annotations

import torch
from torch import Tensor

from tagf_head.errors import HeadError
from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.heads.head import Head, HeadOutput

_NUM_WINDOWS = 3


def check_own_head(head: Head, name: str, config: ResolvedHeadConfig) -> None:
    """Run a head once on three windows as training gives them: a whole one, a padded one, and padding alone.

    Weights, modes and torch's random state are left as they were.

    Args:
        head: The head, freshly made.
        name: Its name, for messages.
        config: The settings that it was made with.

    Raises:
        HeadError: It cannot compute, or what it says is not of the widths that it promises, or not finite.
    """
    where = f"head {name!r}"
    remedy = f"correct {type(head).__name__}"
    if not isinstance(getattr(head, "num_features", None), int):
        raise HeadError(
            f"{where}: expected num_features, the width of HeadOutput.features, as a whole number, got "
            f"{getattr(head, 'num_features', 'nothing')!r}; set it in {type(head).__name__}.__init__"
        )
    inputs = _windows(head, config)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        training = {module: module.training for module in head.modules()}
        head.eval()
        try:
            found = head.estimate(*inputs)
        except (Exception, SystemExit) as error:
            reason = " ".join(str(error).split())
            raise HeadError(
                f"{where} cannot estimate windows of {config.reference_length} frames, float16 rows and some "
                f"padding ({type(error).__name__}: {reason}); {remedy}.estimate"
            ) from error
        finally:
            for module, mode in training.items():
                module.training = mode
    if not isinstance(found, HeadOutput):
        raise HeadError(f"{where}: expected a HeadOutput, got {type(found).__name__}; {remedy}.estimate")
    if found.gates.keys() != head.gate_candidates.keys():
        raise HeadError(
            f"{where}: expected weights of the gates that gate_candidates names "
            f"({', '.join(head.gate_candidates) or 'none'}), got {', '.join(found.gates) or 'none'}; {remedy}"
        )
    parts = {
        "prediction": (found.prediction, config.num_outputs, "num_outputs"),
        "features": (found.features, head.num_features, "num_features"),
    } | {
        f"gate {gate!r}": (found.gates[gate], len(candidates), "its gate_candidates")
        for gate, candidates in head.gate_candidates.items()
    }
    for part, (values, width, of_what) in parts.items():
        expected = (_NUM_WINDOWS, config.reference_length, width)
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        if shape != expected:
            raise HeadError(
                f"{where}: expected {part} of shape (windows, frames, {of_what}) = {expected}, got {shape}; "
                f"{remedy}"
            )
        if not values.isfinite().all():
            raise HeadError(
                f"{where}: expected finite numbers in {part}, got NaN or infinity for rows of zeros or a "
                f"window of padding alone; {remedy}.estimate"
            )


def _windows(head: Head, config: ResolvedHeadConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of both streams in the store's float16, and a mask.

    They have `reference_length` frames, since a head may fix the length of its windows to that.
    """
    generator = torch.Generator().manual_seed(0)
    num_frames = config.reference_length
    num_valid = torch.tensor([[num_frames], [(num_frames + 1) // 2], [0]])
    frame_mask = torch.arange(num_frames) < num_valid  # (B, L)
    visual, audio = (
        (torch.randn(_NUM_WINDOWS, num_frames, width, generator=generator) * frame_mask[..., None]).half()
        for width in (config.visual_features, config.audio_features)
    )
    visual[:, 0] = 0  # no face
    device = next((parameter.device for parameter in head.parameters()), torch.device("cpu"))
    return visual.to(device), audio.to(device), frame_mask.to(device)
