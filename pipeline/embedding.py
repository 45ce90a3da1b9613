"""Blocks of inputs to rows, through a backbone that is called with one batch shape only.

Libraries choose another order of summation for another batch size, so a row computed in a batch of 7 differs
in its last bits from the same row in a batch of 32. Every call here has the configured batch size, the last
one padded: a row does not depend on how many other rows there are, nor on which, and so batches are filled
across blocks and clips.

Shapes: n inputs of a block, V views, B inputs of a batch, C side of a crop in pixels, S side of a face as the
backbone takes it, D features.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.backbones.backbone import Backbone, Takes
from pipeline.config import Precision
from pipeline.errors import ExtractionError
from pipeline.face_views import crop_size_px, view_place
from pipeline.input_blocks import Block, ExampleBlock, FaceBlock, SampleBlock

# A batch whose rows are not fetched yet while the next one is launched, so that a GPU need not wait for the
# CPU between two.
_NUM_IN_FLIGHT = 1
# Blocks without a face cost nothing and may be many between two faces; then batches go half empty.
_MAX_WAITING_BLOCKS = 32
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

T = TypeVar("T", FaceBlock, ExampleBlock, SampleBlock)


class RowMapper(Protocol):
    """Turns blocks of inputs into rows; the networks may be in another process."""

    @property
    def takes(self) -> Takes:
        """Kind of the blocks."""
        ...

    @property
    def num_features(self) -> int:
        """Features D per row."""
        ...

    @property
    def views(self) -> tuple[str, ...] | None:
        """Views per face; None for one row per input."""
        ...

    @property
    def crop_size_px(self) -> int | None:
        """Side of the face crops; None where it takes no faces."""
        ...

    @property
    def window_samples(self) -> int | None:
        """Samples per window of sound; None where it takes no waveforms."""
        ...

    def map(self, blocks: Iterable[Block]) -> Iterator[NDArray[np.float32]]:
        """Rows of each block, in order: (V, n, D) with views, else (n, D).

        May read some blocks ahead to fill its batches.
        """
        ...


@dataclass(kw_only=True)
class _Waiting:
    """A block whose rows are not all there yet."""

    num_inputs: int
    pieces: list[Tensor]
    num_missing: int


class StreamEmbedder:
    """A `RowMapper` in this process.

    Args:
        backbone: In eval mode.
        name: Of the stream, for messages.
        views: For faces: which views make rows; None for the centre alone, without an axis of views.
        batch_size: Inputs per call.
        device: Where it runs.
        precision: What the weights and all intermediate results are held in; rows are float32 always.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        name: str,
        batch_size: int,
        device: torch.device,
        views: tuple[str, ...] | None = None,
        precision: Precision = "float32",
    ) -> None:
        self._dtype = _DTYPES[precision]
        self._backbone = backbone.to(device=device, dtype=self._dtype)
        self._name, self._device, self._batch_size = name, device, batch_size
        self.takes, self.num_features, self.views = backbone.takes, backbone.num_features, views
        self.input_shape = backbone.input_shape
        self.crop_size_px = crop_size_px(self.input_shape[1]) if self.takes == "faces" else None
        self.window_samples = self.input_shape[0] if self.takes == "waveform" else None

    def in_batches_of(self, batch_size: int) -> StreamEmbedder:
        """The same network, called with another batch shape: its rows differ by rounding."""
        other = copy(self)
        other._batch_size = batch_size
        return other

    def map(self, blocks: Iterable[Block]) -> Iterator[NDArray[np.float32]]:
        """Rows of each block, in order: (V, n, D) with views, else (n, D).

        Raises:
            ExtractionError: A block of another kind or size than the backbone takes.
        """
        waiting: deque[_Waiting] = deque()
        in_flight: deque[Tensor] = deque()  # (B, D) each, on the device
        pending: list[Tensor] = []  # inputs that wait for their batch to fill
        num_pending = 0
        for block in blocks:
            inputs = self._inputs(block)
            waiting.append(_Waiting(num_inputs=len(block), pieces=[], num_missing=len(inputs)))
            pending.append(inputs)
            num_pending += len(inputs)
            if num_pending >= self._batch_size:
                merged = torch.cat(pending)
                for start in range(0, num_pending - self._batch_size + 1, self._batch_size):
                    in_flight.append(self._embed(merged[start : start + self._batch_size]))
                    while len(in_flight) > _NUM_IN_FLIGHT:
                        self._hand_out(in_flight.popleft(), waiting)
                num_pending %= self._batch_size
                pending = [merged[len(merged) - num_pending :]]
            if len(waiting) > _MAX_WAITING_BLOCKS:
                if num_pending:
                    in_flight.append(self._embed(torch.cat(pending)))
                    pending, num_pending = [], 0
                while in_flight:
                    self._hand_out(in_flight.popleft(), waiting)
            yield from self._finished(waiting)
        if num_pending:
            in_flight.append(self._embed(torch.cat(pending)))
        while in_flight:
            self._hand_out(in_flight.popleft(), waiting)
        yield from self._finished(waiting)

    def _inputs(self, block: Block) -> Tensor:
        """Inputs of a block on the device, as few bytes as they come in.

        Returns:
            Faces (V n, S, S, 3) uint8, view by view; examples (n, 1, 96, 64) float32; windows (n, samples)
            float32.
        """
        if self.takes == "faces":
            crops = torch.from_numpy(self._checked(block, FaceBlock).crops).to(self._device)
            if len(crops) and crops.shape[1] != self.crop_size_px:
                raise ExtractionError(
                    f"stream {self._name!r}: expected crops of {self.crop_size_px} px, got "
                    f"{crops.shape[1]} px"
                )
            return torch.cat([self._view(crops, view) for view in self.views or ("center",)])
        if self.takes == "log_mel":
            examples = self._checked(block, ExampleBlock)
            rows = examples.first_rows[:, None] + np.arange(self.input_shape[1])
            return torch.from_numpy(examples.grid[rows][:, None]).to(self._device)
        sounds = self._checked(block, SampleBlock)
        if sounds.window_samples != self.window_samples:
            raise ExtractionError(
                f"stream {self._name!r}: expected windows of {self.window_samples} samples, got "
                f"{sounds.window_samples}"
            )
        places = sounds.first_samples[:, None] + np.arange(sounds.window_samples)
        return torch.from_numpy(sounds.samples[places]).to(self._device)

    def _checked(self, block: Block, kind: type[T]) -> T:
        if not isinstance(block, kind):
            raise ExtractionError(
                f"stream {self._name!r}: its backbone takes {self.takes}, got a {type(block).__name__}"
            )
        return block

    def _view(self, crops: Tensor, view: str) -> Tensor:
        """One view of each crop, (n, C, C, 3) -> (n, S, S, 3)."""
        side = self.input_shape[1]
        top, left, mirrored = view_place(view, crops.shape[1], side)
        cut = crops[:, top : top + side, left : left + side]
        return cut.flip(2) if mirrored else cut

    def _embed(self, inputs: Tensor) -> Tensor:
        """Rows of at most B inputs, (n, D) float32 on the device, all launched and maybe not finished."""
        batch = inputs.new_zeros((self._batch_size, *inputs.shape[1:]))
        batch[: len(inputs)] = inputs
        # TF32 has 10 bits of mantissa; the precision declared in the fingerprint is float32.
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(allow_tf32=False, deterministic=True, benchmark=False),
        ):
            if self.takes == "faces":
                batch = ((batch.float() / 255 - 0.5) / 0.5).permute(0, 3, 1, 2).contiguous()
            rows: Tensor = self._backbone(batch.to(self._dtype))[: len(inputs)].float()
        return rows

    def _hand_out(self, rows: Tensor, waiting: Iterable[_Waiting]) -> None:
        """Give the rows of a batch, (n, D), to the blocks that they are of."""
        rows = rows.cpu()
        for block in waiting:
            taken = min(block.num_missing, len(rows))
            if taken:
                block.pieces.append(rows[:taken])
                block.num_missing -= taken
                rows = rows[taken:]

    def _finished(self, waiting: deque[_Waiting]) -> Iterator[NDArray[np.float32]]:
        """Rows of the blocks that have all of theirs, oldest first, up to the first one that has not."""
        while waiting and not waiting[0].num_missing:
            block = waiting.popleft()
            views = () if self.views is None else (len(self.views),)
            shape = (*views, block.num_inputs, self.num_features)
            rows = torch.cat(block.pieces) if block.pieces else torch.zeros(shape)
            yield rows.reshape(shape).numpy()
