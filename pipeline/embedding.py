"""Backbones over batches of one fixed shape.

Libraries choose another order of summation for another batch size, so a row computed in a batch of 7 differs
in its last bits from the same row in a batch of 32. Every call here has the configured batch size, the last
one padded: a row does not depend on how many other rows there are, nor on which.

Shapes: n inputs that are wanted, V views, S side of a face in pixels, D features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from pipeline.backbones.backbone import Backbone


class Embedder:
    """A backbone on a device, called with one batch shape only.

    Args:
        backbone: In eval mode.
        batch_size: Inputs per call.
        device: Where it runs.
    """

    def __init__(self, backbone: Backbone, *, batch_size: int, device: torch.device) -> None:
        # Channels last is what the CPU's convolutions are fastest in: 27 against 22 faces/s for IR-50 on two
        # cores.
        self._backbone = backbone.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device
        self.batch_size = batch_size
        self.num_features = backbone.num_features
        self.input_shape = backbone.input_shape

    def __call__(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raw embeddings.

        Args:
            inputs: Normalised inputs, (n, *input_shape), n at most the batch size.

        Returns:
            (n, D).
        """
        if len(inputs) > self.batch_size:
            raise ValueError(f"inputs must be at most {self.batch_size}, the batch size, got {len(inputs)}")
        batch = np.zeros((self.batch_size, *self.input_shape), dtype=np.float32)
        batch[: len(inputs)] = inputs
        # TF32 has 10 bits of mantissa; the precision declared in the fingerprint is float32.
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(allow_tf32=False, deterministic=True, benchmark=False),
        ):
            on_device = torch.from_numpy(batch).to(self._device).contiguous(memory_format=torch.channels_last)
            rows: NDArray[np.float32] = self._backbone(on_device)[: len(inputs)].cpu().numpy()
        return rows


def face_views(crop: NDArray[np.uint8], views: Sequence[str], side_px: int) -> NDArray[np.float32]:
    """What a visual backbone sees of an aligned face crop.

    Args:
        crop: A square RGB picture, (C, C, 3).
        views: `center`: the centre crop of S pixels; where S is larger than C, as for `inception_resnet_v1`,
            all of the crop, enlarged. `flip`: its mirror image.
        side_px: Side S that the backbone takes.

    Returns:
        (V, 3, S, S), pixels (x / 255 - 0.5) / 0.5.
    """
    margin = max((len(crop) - side_px) // 2, 0)
    centre = crop[margin : margin + side_px, margin : margin + side_px]
    face = ((centre.astype(np.float32) / 255 - 0.5) / 0.5).transpose(2, 0, 1)
    if len(crop) < side_px:
        enlarged = functional.interpolate(
            torch.from_numpy(face)[None], size=(side_px, side_px), mode="bilinear"
        )
        face = enlarged[0].numpy()
    return np.stack([face[..., ::-1] if view == "flip" else face for view in views])
