"""What training does to the features of a batch: modality dropout, a shift of the audio, noise, mixup.

Everything happens on the batch's device and is a function of a generator's state. Nothing to do costs nothing
and draws nothing.

Letters in shapes: W windows of a plan, B windows in a batch, L frames of a window, D features.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from tagf_head.config import AugmentConfig
from tagf_head.data.rows import Batch


def draw_audio_shift(num_windows: int, config: AugmentConfig, generator: torch.Generator) -> Tensor | None:
    """Frames by which each window's audio rows are taken later than its pictures', for `FeatureRows.batches`.

    Args:
        num_windows: Number of windows W.
        config: What to do.
        generator: Of the CPU.

    Returns:
        ``(W,)`` int64, uniform from ``-shift_audio_frames`` to ``shift_audio_frames``; None for no shift.
    """
    largest = config.shift_audio_frames
    if largest == 0:
        return None
    return torch.randint(-largest, largest + 1, (num_windows,), generator=generator)


def augment(batch: Batch, config: AugmentConfig, generator: torch.Generator) -> Batch:
    """Mix windows, add noise and drop modalities, in this order, so that what is dropped stays zero.

    Args:
        batch: Windows.
        config: What to do.
        generator: On the batch's device.

    Returns:
        The batch, with other tensors where something was done.
    """
    if config.mixup:
        batch = _mix(batch, config.mixup, generator)
    if config.noise:
        batch = replace(
            batch,
            visual=_with_noise(batch.visual, config.noise, generator),
            audio=_with_noise(batch.audio, config.noise, generator),
        )
    if config.drop_visual or config.drop_audio:
        batch = _drop_modalities(batch, config, generator)
    return batch


def _mix(batch: Batch, parameter: float, generator: torch.Generator) -> Batch:
    """Mixup (Zhang et al., 2018): each window becomes a share of itself and the rest of another one.

    A window's own row and label stay as they are where the partner has no frame, or no label for one that the
    window has: a short partner would take the labels of a long window away.
    """
    num_windows, device = len(batch.frame_mask), batch.frame_mask.device
    partner = torch.randperm(num_windows, generator=generator, device=device)
    # Beta(a, a) as the share of one of two Gamma(a) variables in their sum.
    gamma = torch._standard_gamma(
        torch.full((2, num_windows, 1, 1), parameter, dtype=torch.float64, device=device), generator
    )
    is_mixed = batch.frame_mask[partner] & (batch.label_mask[partner] | ~batch.label_mask)  # (B, L)
    share = (gamma[0] / gamma.sum(dim=0)).float()  # (B, 1, 1)
    share = torch.where(is_mixed[..., None], share, 1)  # (B, L, 1)

    def mixed(values: Tensor, mask: Tensor) -> Tensor:
        values = values.float()
        return (share * values + (1 - share) * values[partner]).masked_fill(~mask[..., None], 0)

    return Batch(
        visual=mixed(batch.visual, batch.frame_mask),
        audio=mixed(batch.audio, batch.frame_mask),
        frame_mask=batch.frame_mask,
        label=mixed(batch.label, batch.label_mask),
        label_mask=batch.label_mask,
    )


def _with_noise(rows: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """``(B, L, D)`` rows plus Gaussian noise in units of each row's root mean square: zeros stay zeros."""
    rows = rows.float()  # squares of float16 may be too large for float16
    root_mean_square = rows.square().mean(dim=-1, keepdim=True).sqrt()
    noise = torch.randn(rows.shape, generator=generator, device=rows.device)
    return rows + deviation * root_mean_square * noise


def _drop_modalities(batch: Batch, config: AugmentConfig, generator: torch.Generator) -> Batch:
    """Zero the visual rows of some windows and the audio rows of others."""
    drawn = torch.rand(len(batch.frame_mask), 1, 1, generator=generator, device=batch.frame_mask.device)
    drops_visual = drawn < config.drop_visual
    drops_audio = ~drops_visual & (drawn < config.drop_visual + config.drop_audio)
    return replace(
        batch, visual=batch.visual.masked_fill(drops_visual, 0), audio=batch.audio.masked_fill(drops_audio, 0)
    )
