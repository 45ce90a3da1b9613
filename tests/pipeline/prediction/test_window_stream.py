"""Windows of a clip that streams by against evaluation of the whole clip, to the last bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.prediction.window_stream import WindowStream
from tagf_head.config import HeadConfig
from tagf_head.data.device_rows import DeviceRows
from tagf_head.data.rows import with_empty_row
from tagf_head.data.windows import plan_windows
from tagf_head.errors import HeadError
from tagf_head.evaluation.head_passes import GatedRows
from tagf_head.evaluation.stitching import predict_gated_rows
from tagf_head.heads import HEADS, build_head
from tagf_head.heads.head import HeadOutput

CPU = torch.device("cpu")
TINY = {
    "visual_features": 10,
    "audio_features": 7,
    "visual_channels": (8, 8),
    "audio_channels": (6,),
    "kernel_size": 3,
    "recurrent_features": 6,
    "attended_features": 4,
    "num_layers": 1,
    "num_attention_heads": 2,
    "attention_features": 3,
    "model_features": 8,
    "feedforward_features": 12,
    "regressor_features": 8,
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Sums(nn.Module):
    """Sums over the window, in which every row and its place count; cheap."""

    def forward(
        self, visual: Tensor, audio: Tensor, frame_mask: Tensor, *, return_all: bool = False
    ) -> HeadOutput:
        rows = torch.cat([visual.float().cumsum(1), audio.float().cumsum(1)], -1)
        prediction = rows[..., [0, -1]].sin() * frame_mask[..., None]
        return HeadOutput(prediction=prediction, features=rows, gates={"g": rows[..., :3].softmax(-1)})


def random_rows(num_rows: int, widths: tuple[int, int], seed: int = 0) -> list[NDArray[np.float16]]:
    rng = np.random.default_rng(seed)
    rows = [rng.standard_normal((num_rows, width)).astype(np.float16) for width in widths]
    rows[0][num_rows // 3 : num_rows // 2] = 0  # no face
    return rows


def evaluated(
    head: nn.Module, clips: Sequence[Sequence[NDArray[np.float16]]], window: int, stride: int
) -> GatedRows:
    """All clips as evaluation has them, one after the other."""
    visual, audio = (np.concatenate([clip[stream] for clip in clips]) for stream in range(2))
    row_size = np.array([len(clip[0]) for clip in clips])
    rows = DeviceRows(
        row_size=row_size,
        label=torch.zeros(len(visual) + 1, 2),
        label_mask=torch.zeros(len(visual) + 1, dtype=torch.bool),
        center_view=0,
        visual=with_empty_row(visual, CPU)[None],
        audio=with_empty_row(audio, CPU),
    )
    return predict_gated_rows(head, rows, plan_windows(row_size, window, stride), 5)


def streamed(
    head: nn.Module, clip: Sequence[NDArray[np.float16]], window: int, stride: int, bounds: Sequence[int]
) -> list[GatedRows]:
    """A clip in blocks that end at some rows; all that is settled is taken at once."""
    stream = WindowStream(head, window=window, stride=stride, device=CPU)
    taken = []

    def take() -> None:
        if stream.num_settled:
            taken.append(stream.take(stream.num_settled))

    for start, stop in zip([0, *bounds], [*bounds, len(clip[0])], strict=True):
        stream.add(clip[0][start:stop], clip[1][start:stop])
        take()
    stream.finish()
    take()
    return taken


def assert_same(taken: Sequence[GatedRows], expected: GatedRows, rows: slice) -> None:
    np.testing.assert_array_equal(np.concatenate([each.values for each in taken]), expected.values[rows])
    assert (taken[0].variance is None) == (expected.variance is None)
    if expected.variance is not None:
        variances = [each.variance for each in taken if each.variance is not None]
        np.testing.assert_array_equal(np.concatenate(variances), expected.variance[rows])
    assert taken[0].gates.keys() == expected.gates.keys()
    for name, weights in expected.gates.items():
        np.testing.assert_array_equal(np.concatenate([each.gates[name] for each in taken]), weights[rows])


@settings(max_examples=60, deadline=None)
@given(
    num_rows=st.integers(1, 70),
    window=st.integers(1, 12),
    data=st.data(),
)
def test_any_blocks_of_any_clip(num_rows: int, window: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, window))
    bounds = sorted(data.draw(st.lists(st.integers(0, num_rows), max_size=6)))
    clip = random_rows(num_rows, (3, 2))
    expected = evaluated(Sums(), [clip], window, stride)
    assert_same(streamed(Sums(), clip, window, stride, bounds), expected, slice(None))


@pytest.mark.parametrize("name", HEADS)
def test_every_head(name: str) -> None:
    """Behind another clip, in other blocks; a window's place in a batch would show in the last bits."""
    torch.manual_seed(0)
    window = 15
    head = build_head(HeadConfig(name=name, uncertainty=True, reference_length=window, **TINY)).eval()
    clips = [random_rows(size, (10, 7), seed) for seed, size in enumerate((40, 9, 151))]
    expected = evaluated(head, clips, window, 11)
    assert_same(streamed(head, clips[1], window, 11, [4]), expected, slice(40, 49))
    assert_same(streamed(head, clips[2], window, 11, range(7, 150, 13)), expected, slice(49, 200))


def test_the_papers_widths_and_windows() -> None:
    torch.manual_seed(0)
    head = build_head(HeadConfig(name="paper")).eval()
    clips = [random_rows(size, (512, 128), seed) for seed, size in enumerate((301, 520))]
    expected = evaluated(head, clips, 300, 200)
    assert_same(streamed(head, clips[1], 300, 200, range(64, 520, 64)), expected, slice(301, 821))


def test_passes_are_computed_on_one_thread() -> None:
    """On more, some values would differ in their last bits from those of an evaluation."""
    head, threads = Sums(), []
    head.register_forward_hook(lambda *_: threads.append(torch.get_num_threads()))
    torch.set_num_threads(3)
    try:
        streamed(head, random_rows(50, (3, 2)), 5, 5, [20])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    assert threads == [1, 1]


def test_rows_are_given_out_and_forgotten_on_the_way() -> None:
    """What is kept does not grow with the clip: the windows of a pass, and what the last window may reach."""
    stream = WindowStream(Sums(), window=10, stride=6, device=CPU)
    clip = random_rows(400, (3, 2))
    num_taken, num_kept = 0, []
    for start in range(0, 400, 4):
        stream.add(*(rows[start : start + 4] for rows in clip))
        if num_settled := stream.num_settled:
            stream.take(num_settled)
            num_taken += num_settled
        num_kept.append(start + 4 - num_taken)
    # Eight windows reach 7 * 6 + 10 rows, and a ninth begins 6 rows further on.
    assert max(num_kept) <= 7 * 6 + 10 + 6 + 4
    assert num_kept[-40:-20] == num_kept[-52:-32]  # in the rhythm of 8 windows, 48 rows


def test_a_clip_without_rows() -> None:
    stream = WindowStream(Sums(), window=10, stride=6, device=CPU)
    stream.finish()
    assert stream.num_settled == 0


def test_the_row_that_is_not_finite_is_named_by_its_place_in_the_clip() -> None:
    clip = random_rows(100, (3, 2))
    clip[0][71] = np.inf
    with pytest.raises(HeadError, match=r"the head predicts .* for row 7\d"):
        streamed(Sums(), clip, 6, 6, range(5, 100, 5))
