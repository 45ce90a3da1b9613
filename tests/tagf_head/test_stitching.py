"""Means over overlapping windows, against lists in a dictionary; masks that stay out of the forward pass."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from cache import FeatureStore
from tagf_head.annotations import load_annotations
from tagf_head.data import SplitData, load_split
from tagf_head.errors import HeadError
from tagf_head.heads import build_head
from tagf_head.stitching import Stitching, predict_rows
from tagf_head.windows import plan_windows


@pytest.fixture(scope="module")
def validation(corpus) -> SplitData:
    return load_split(
        FeatureStore.open(corpus.store),
        load_annotations(corpus.annotations),
        "validation",
        torch.device("cpu"),
    )


@given(
    row_size=st.lists(st.integers(1, 15), min_size=1, max_size=4),
    window=st.integers(1, 8),
    batch_size=st.integers(1, 5),
    data=st.data(),
)
def test_mean_equals_a_dictionary_of_lists(
    row_size: list[int], window: int, batch_size: int, data: st.DataObject
) -> None:
    plan = plan_windows(np.array(row_size), window, data.draw(st.integers(1, window)))
    starts = np.cumsum(row_size) - row_size
    generator = np.random.default_rng(data.draw(st.integers(0, 9)))
    values = generator.uniform(-1, 1, (len(plan), window, 2)).astype(np.float32)
    values_of_row = defaultdict(list)
    row = np.zeros((len(plan), window), np.int64)
    frame_mask = np.zeros((len(plan), window), bool)
    for index in range(len(plan)):
        for offset in range(plan.length[index]):
            row[index, offset] = starts[plan.clip[index]] + plan.start[index] + offset
            frame_mask[index, offset] = True
            values_of_row[row[index, offset]].append(values[index, offset].astype(np.float64))
    stitching = Stitching(sum(row_size))
    for first in range(0, len(plan), batch_size):
        part = slice(first, first + batch_size)
        stitching.add(row[part], frame_mask[part], values[part])
    expected = [np.mean(values_of_row[index], axis=0) for index in range(sum(row_size))]
    np.testing.assert_allclose(stitching.mean(), expected, rtol=0, atol=1e-15)


def test_a_row_in_no_window_is_an_error() -> None:
    stitching = Stitching(3)
    stitching.add(np.array([[0, 2]]), np.array([[True, True]]), np.zeros((1, 2, 2), np.float32))
    with pytest.raises(HeadError, match="row 1 lies in no window, 1 of 3 rows"):
        stitching.mean()


class PositionHead(nn.Module):
    """Says of each frame its place within the window and the mean of its audio row."""

    def forward(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> Tensor:
        position = torch.arange(audio.shape[1]).expand(audio.shape[:2]) / 100
        return torch.stack([position, audio.mean(dim=-1)], dim=-1)


def test_predictions_per_row(validation: SplitData) -> None:
    # Clips of 30 and 45 rows, windows of 20 every 12 rows: starts 0, 10 and 0, 12, 24, 25.
    plan = plan_windows(validation.row_size, 20, 12)
    predicted = predict_rows(PositionHead(), validation.rows, plan, batch_size=4)
    expected = []
    for size, starts in ((30, (0, 10)), (45, (0, 12, 24, 25))):
        for row in range(size):
            expected.append(np.mean([row - start for start in starts if 0 <= row - start < 20]) / 100)
    np.testing.assert_allclose(predicted[:, 0], expected, atol=1e-7)
    np.testing.assert_allclose(
        predicted[:, 1], validation.rows.audio.float().mean(dim=-1).numpy(), rtol=1e-6, atol=1e-7
    )
    assert predicted.dtype == np.float32


def test_prediction_leaves_the_heads_mode_alone_and_uses_no_dropout(validation: SplitData, training) -> None:
    torch.manual_seed(0)
    head = build_head(dataclasses.replace(training.head, visual_features=16, audio_features=8)).train()
    plan = plan_windows(validation.row_size, 20, 12)
    first = predict_rows(head, validation.rows, plan, batch_size=4)
    assert head.training
    np.testing.assert_array_equal(predict_rows(head, validation.rows, plan, batch_size=4), first)
    assert not any(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_batch_size_changes_rounding_alone(validation: SplitData, training, batch_size: int) -> None:
    torch.manual_seed(0)
    head = build_head(dataclasses.replace(training.head, visual_features=16, audio_features=8))
    plan = plan_windows(validation.row_size, 20, 12)
    np.testing.assert_allclose(
        predict_rows(head, validation.rows, plan, batch_size),
        predict_rows(head, validation.rows, plan, 2),
        atol=1e-5,
    )


def test_labels_and_their_mask_never_reach_the_head(validation: SplitData, training) -> None:
    torch.manual_seed(0)
    head = build_head(dataclasses.replace(training.head, visual_features=16, audio_features=8))
    plan = plan_windows(validation.row_size, 20, 12)
    other = dataclasses.replace(
        validation.rows,
        label=torch.full_like(validation.rows.label, 0.77),
        label_mask=~validation.rows.label_mask,
    )
    np.testing.assert_array_equal(
        predict_rows(head, validation.rows, plan, 4), predict_rows(head, other, plan, 4)
    )
    # In training mode, too, where batch normalisation reads every frame of the batch.
    outputs = []
    for rows in (validation.rows, other):
        torch.manual_seed(1)
        batch = next(rows.batches(plan, 6))
        outputs.append(head.train()(batch.visual, batch.audio, batch.frame_mask))
    assert torch.equal(*outputs)


def test_what_lies_behind_a_short_clip_does_not_matter(validation: SplitData, training) -> None:
    torch.manual_seed(0)
    head = build_head(dataclasses.replace(training.head, visual_features=16, audio_features=8))
    plan = plan_windows(validation.row_size, 40, 40)  # the first clip has 30 rows
    changed = dataclasses.replace(validation.rows, audio=validation.rows.audio.clone())
    changed.audio[30:] = 3
    found = [predict_rows(head, rows, plan, 1)[:30] for rows in (validation.rows, changed)]
    np.testing.assert_array_equal(*found)


def test_predictions_that_are_not_finite_are_refused(validation: SplitData) -> None:
    class BrokenHead(PositionHead):
        def forward(self, visual: Tensor, audio: Tensor, frame_mask: Tensor) -> Tensor:
            return super().forward(visual, audio, frame_mask) / 0

    with pytest.raises(HeadError, match=r"the head predicts .* for row 0"):
        predict_rows(BrokenHead(), validation.rows, plan_windows(validation.row_size, 20, 12), 4)
