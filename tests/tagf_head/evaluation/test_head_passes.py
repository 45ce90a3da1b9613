"""What a clip is given depends on its rows alone: not on its neighbours, the batch size or the threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cache import FeatureStore
from tagf_head.annotations import load_annotations
from tagf_head.config import TrainConfig
from tagf_head.data.split_data import SplitData, load_clips
from tagf_head.data.windows import plan_windows
from tagf_head.evaluation.head_passes import head_passes, pass_sizes
from tagf_head.evaluation.stitching import predict_gated_rows
from tagf_head.heads import build_head
from tagf_head.heads.head import HeadOutput

CLIPS = ("t1", "t2", "t3_left", "t3_right", "v1", "v2")


@pytest.fixture
def restored_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def load(corpus, clip_ids: tuple[str, ...], **options: float) -> SplitData:
    return load_clips(
        FeatureStore.open(corpus.store),
        load_annotations(corpus.annotations),
        clip_ids,
        name="some",
        **options,
    )


@pytest.mark.usefixtures("restored_threads")
@pytest.mark.parametrize("rows_memory_gb", [1.0, 0.0])
def test_a_clip_is_predicted_the_same_whatever_is_beside_it(
    corpus, training: TrainConfig, rows_memory_gb: float
) -> None:
    torch.manual_seed(0)
    head = build_head(
        dataclasses.replace(training.head, visual_features=16, audio_features=8, uncertainty=True)
    )
    data = load(corpus, CLIPS, rows_memory_gb=rows_memory_gb)
    plan = plan_windows(data.row_size, 11, 3)  # up to 14 windows per clip: two passes
    together = predict_gated_rows(head, data.rows, plan, 4)
    assert torch.get_num_threads() == 1
    stops = np.cumsum(data.row_size)
    for clip_id, start, stop in zip(CLIPS, stops - data.row_size, stops, strict=True):
        alone = load(corpus, (clip_id,))
        plan_alone = plan_windows(alone.row_size, 11, 3)
        for batch_size, num_threads in ((1, 1), (50, 3)):
            torch.set_num_threads(num_threads)
            found = predict_gated_rows(head, alone.rows, plan_alone, batch_size)
            assert torch.get_num_threads() == num_threads
            np.testing.assert_array_equal(found.values, together.values[start:stop])
            np.testing.assert_array_equal(found.variance, together.variance[start:stop])
            for name, weights in found.gates.items():
                np.testing.assert_array_equal(weights, together.gates[name][start:stop])
        torch.set_num_threads(1)


class Forgetful(nn.Module):
    """Leaves its input in an attribute on the way, as a head of one's own may do."""

    def forward(self, visual: Tensor, audio: Tensor, mask: Tensor, *, return_all: bool) -> HeadOutput:
        self.seen = visual
        for _ in range(50):
            torch.mm(torch.ones(60, 60), torch.ones(60, 60))  # gives other threads their turn
        return HeadOutput(prediction=self.seen[..., :2].float(), features=audio)


@pytest.mark.usefixtures("restored_threads")
def test_passes_come_in_order_on_one_thread_each(corpus) -> None:
    data = load(corpus, CLIPS)
    plan = plan_windows(data.row_size, 4, 4)
    batches = list(data.rows.batches(plan, pass_sizes(plan.clip)))
    torch.set_num_threads(3)
    head, threads = Forgetful().eval(), []
    head.register_forward_hook(lambda *_: threads.append(torch.get_num_threads()))
    found = list(head_passes(head, batches, torch.device("cpu")))
    assert set(threads) == {1}
    assert len(found) == len(batches) == 10
    for batch, values in zip(batches, found, strict=True):
        assert torch.equal(values.values, batch.visual[..., :2].float())
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(
    ("clip", "sizes"),
    [([], []), ([5], [1]), ([0] * 8, [8]), ([0] * 9, [8, 1]), ([0] * 17 + [2] + [3] * 2, [8, 8, 1, 1, 2])],
)
def test_passes_hold_windows_of_one_clip(clip: list[int], sizes: list[int]) -> None:
    assert pass_sizes(np.array(clip, np.int64)) == sizes
