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
from tagf_head.data.split_data import SplitData, load_split
from tagf_head.data.windows import plan_windows
from tagf_head.errors import HeadError
from tagf_head.evaluation.stitching import Stitching, predict_gated_rows, stitch_windows
from tagf_head.heads import build_head
from tagf_head.heads.head import HeadOutput


@pytest.fixture(scope="module")
def validation(corpus) -> SplitData:
    return load_split(
        FeatureStore.open(corpus.store),
        load_annotations(corpus.annotations),
        "validation",
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
    values = generator.uniform(-1, 1, (len(plan), window, 2))
    first_row = starts[plan.clip] + plan.start
    values_of_row = defaultdict(list)
    for index in range(len(plan)):
        for offset in range(plan.length[index]):
            values_of_row[first_row[index] + offset].append(values[index, offset])
        values[index, plan.length[index] :] = np.nan  # padding
    expected = [np.mean(values_of_row[index], axis=0) for index in range(sum(row_size))]
    stitching, parts = Stitching(sum(row_size)), [Stitching(sum(row_size)) for _ in range(2)]
    for number, first in enumerate(range(0, len(plan), batch_size)):
        part = slice(first, first + batch_size)
        for each in (stitching, parts[number % 2]):
            each.add(first_row[part], plan.length[part], values[part])
    np.testing.assert_allclose(stitching.mean(), expected, rtol=0, atol=1e-15)
    # As processes do that share the windows of a plan.
    parts[0].sum += parts[1].sum
    parts[0].count += parts[1].count
    np.testing.assert_allclose(parts[0].mean(), expected, rtol=0, atol=1e-15)


def test_a_row_in_no_window_is_an_error() -> None:
    stitching = Stitching(3)
    stitching.add(np.array([0, 2]), np.array([1, 1]), np.ones((2, 1, 2)))
    with pytest.raises(HeadError, match="row 1 lies in no window, 1 of 3 rows"):
        stitching.mean()
    np.testing.assert_array_equal(stitching.mean(np.array([True, False, True])), np.ones((2, 2)))
    with pytest.raises(HeadError, match="row 1 lies in no window, 1 of 2 rows"):
        stitching.mean(np.array([False, True, True]))


class PositionHead(nn.Module):
    """Says of each frame its place within the window and the mean of its audio row.

    Its gates weigh by the first audio feature, and by the place.
    """

    def forward(
        self, visual: Tensor, audio: Tensor, frame_mask: Tensor, *, return_all: bool = False
    ) -> Tensor | HeadOutput:
        audio = audio.float()
        position = torch.arange(audio.shape[1]).expand(audio.shape[:2]) / 100
        prediction = torch.stack([position, audio.mean(dim=-1)], dim=-1)
        if not return_all:
            return prediction
        three, two = (torch.stack([each, 1 - each], dim=-1) for each in (audio[..., 0].sigmoid(), position))
        three = torch.cat([three / 2, torch.full_like(three[..., :1], 0.5)], dim=-1)
        return HeadOutput(prediction=prediction, features=audio, gates={"audio": three, "place": two})


def test_predictions_per_row(corpus, validation: SplitData) -> None:
    # Clips of 30 and 45 rows, windows of 20 every 12 rows: starts 0, 10 and 0, 12, 24, 25.
    plan = plan_windows(validation.row_size, 20, 12)
    predicted = stitch_windows(PositionHead(), validation.rows, plan, batch_size=4).mean()
    expected = []
    for size, starts in ((30, (0, 10)), (45, (0, 12, 24, 25))):
        for row in range(size):
            expected.append(np.mean([row - start for start in starts if 0 <= row - start < 20]) / 100)
    np.testing.assert_allclose(predicted[:, 0], expected, atol=1e-7)
    np.testing.assert_allclose(predicted[:, 1], audio_rows(corpus).mean(axis=1), rtol=1e-6, atol=1e-7)
    assert predicted.dtype == np.float64


def audio_rows(corpus) -> np.ndarray:
    """(75, D) audio rows of the validation split."""
    rows = [corpus.clips[clip_id].streams["audio"] for clip_id in ("v1", "v2")]
    return np.concatenate(rows).astype(np.float64)


def test_gates_are_stitched_like_predictions(corpus, validation: SplitData) -> None:
    plan = plan_windows(validation.row_size, 20, 12)
    head = PositionHead()
    found = predict_gated_rows(head, validation.rows, plan, batch_size=4)
    np.testing.assert_array_equal(
        found.values, stitch_windows(head, validation.rows, plan, batch_size=4).mean()
    )
    assert {name: gate.shape for name, gate in found.gates.items()} == {"audio": (75, 3), "place": (75, 2)}
    first = 1 / (1 + np.exp(-audio_rows(corpus)[:, 0]))
    expected = np.stack([first / 2, (1 - first) / 2, np.full_like(first, 0.5)], axis=1)
    np.testing.assert_allclose(found.gates["audio"], expected, atol=1e-6)
    np.testing.assert_allclose(found.gates["place"][:, 0], found.values[:, 0], atol=1e-7)
    np.testing.assert_allclose(found.gates["place"].sum(axis=1), 1, atol=1e-7)


def test_variances_are_stitched_like_predictions(corpus, validation: SplitData) -> None:
    class UncertainPositionHead(PositionHead):
        def forward(self, *arguments: Tensor, return_all: bool = False) -> Tensor | HeadOutput:
            found = super().forward(*arguments, return_all=True)
            return dataclasses.replace(found, deviation=found.prediction.abs() + 0.1)

    plan = plan_windows(validation.row_size, 20, 12)
    found = predict_gated_rows(UncertainPositionHead(), validation.rows, plan, batch_size=4)
    plain = predict_gated_rows(PositionHead(), validation.rows, plan, batch_size=4)
    assert plain.variance is None
    expected = []
    for size, starts in ((30, (0, 10)), (45, (0, 12, 24, 25))):
        for row in range(size):
            places = np.array([row - start for start in starts if 0 <= row - start < 20]) / 100
            expected.append(((places + 0.1) ** 2).mean())
    np.testing.assert_allclose(found.variance[:, 0], expected, rtol=1e-6)
    audio = (np.abs(audio_rows(corpus).mean(axis=1)) + 0.1) ** 2
    np.testing.assert_allclose(found.variance[:, 1], audio, rtol=1e-5)
    np.testing.assert_array_equal(found.values, plain.values)
    for name, gate in plain.gates.items():
        np.testing.assert_array_equal(found.gates[name], gate)


def test_part_of_a_plan_gives_the_rows_that_are_wanted(validation: SplitData) -> None:
    plan = plan_windows(validation.row_size, 20, 12)
    whole = predict_gated_rows(PositionHead(), validation.rows, plan, batch_size=4)
    wanted = np.arange(75) >= 30  # the second clip
    part = plan.select(plan.clip == 1)
    found = predict_gated_rows(PositionHead(), validation.rows, part, batch_size=4, wanted=wanted)
    np.testing.assert_array_equal(found.values, whole.values[wanted])
    np.testing.assert_array_equal(found.gates["audio"], whole.gates["audio"][wanted])
    counts = stitch_windows(PositionHead(), validation.rows, part, batch_size=4).count
    np.testing.assert_array_equal(counts > 0, wanted)


def test_more_batches_than_are_fetched_at_once(corpus, validation: SplitData) -> None:
    plan = plan_windows(validation.row_size, 6, 1)
    assert len(plan) > 4 * 16
    predicted = stitch_windows(PositionHead(), validation.rows, plan, batch_size=1).mean()
    np.testing.assert_allclose(predicted[:, 1], audio_rows(corpus).mean(axis=1), rtol=1e-6, atol=1e-7)


def test_values_are_float64_under_autocast_and_from_float64_heads(validation: SplitData, training) -> None:
    torch.manual_seed(0)
    head = build_head(dataclasses.replace(training.head, visual_features=16, audio_features=8))
    plan = plan_windows(validation.row_size, 20, 12)
    single = stitch_windows(head, validation.rows, plan, batch_size=4).mean()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = stitch_windows(head, validation.rows, plan, batch_size=4).mean()
    double = stitch_windows(head.double(), validation.rows, plan, batch_size=4).mean()
    assert {each.dtype for each in (single, rough, double)} == {np.dtype(np.float64)}
    np.testing.assert_allclose(rough, double, atol=0.1)
    np.testing.assert_allclose(single, double, atol=1e-5)
    # More digits than float32 has.
    assert (double != double.astype(np.float32)).any()


def test_prediction_leaves_the_heads_mode_alone_and_uses_no_dropout(validation: SplitData, training) -> None:
    torch.manual_seed(0)
    head = build_head(dataclasses.replace(training.head, visual_features=16, audio_features=8)).train()
    plan = plan_windows(validation.row_size, 20, 12)
    first = stitch_windows(head, validation.rows, plan, batch_size=4).mean()
    assert head.training
    np.testing.assert_array_equal(stitch_windows(head, validation.rows, plan, batch_size=4).mean(), first)
    assert not any(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_batch_size_changes_rounding_alone(validation: SplitData, training, batch_size: int) -> None:
    torch.manual_seed(0)
    head = build_head(dataclasses.replace(training.head, visual_features=16, audio_features=8))
    plan = plan_windows(validation.row_size, 20, 12)
    np.testing.assert_allclose(
        stitch_windows(head, validation.rows, plan, batch_size).mean(),
        stitch_windows(head, validation.rows, plan, 2).mean(),
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
        stitch_windows(head, validation.rows, plan, 4).mean(), stitch_windows(head, other, plan, 4).mean()
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
    changed.audio[30:-1] = 3
    found = [stitch_windows(head, rows, plan, 1).mean()[:30] for rows in (validation.rows, changed)]
    np.testing.assert_array_equal(*found)


def test_predictions_that_are_not_finite_are_refused(validation: SplitData) -> None:
    class BrokenHead(PositionHead):
        def forward(self, *arguments: Tensor, **options: bool) -> Tensor:
            return super().forward(*arguments, **options) / 0

    with pytest.raises(HeadError, match=r"the head predicts .* for row 0"):
        stitch_windows(BrokenHead(), validation.rows, plan_windows(validation.row_size, 20, 12), 4).mean()
