"""Bootstrap intervals, against a resampling of the frames themselves with the same draws of subjects."""

from __future__ import annotations

import numpy as np
import pytest

from tagf_head.bootstrap import (
    ccc_interval,
    draw_subjects,
    paired_ccc_difference,
    subject_of,
    subject_of_rows,
)
from tagf_head.errors import HeadError

NUM_RESAMPLES = 60


def plain_ccc(x: np.ndarray, y: np.ndarray) -> float:
    return 2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def all_ccc(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    both = [plain_ccc(prediction[:, column], target[:, column]) for column in range(2)]
    return np.array([*both, sum(both) / 2])


@pytest.fixture(scope="module")
def data() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    subject = np.repeat(np.arange(7), [30, 4, 11, 25, 3, 40, 9])
    offset = generator.normal(0, 0.2, (7, 2))[subject]
    target = np.clip(generator.normal(0, 0.3, (len(subject), 2)) + offset, -1, 1)
    mask = generator.random(len(subject)) > 0.2
    mask[subject == 4] = False  # a subject without labels is no subject
    return {
        "prediction": 0.7 * target + generator.normal(0.1, 0.2, target.shape),
        "other": 0.5 * target + generator.normal(-0.1, 0.2, target.shape),
        "target": target,
        "mask": mask,
        "subject": subject,
    }


def resampled_frames(data: dict[str, np.ndarray], seed: int) -> list[np.ndarray]:
    """Rows of each resample, all labelled rows of every drawn subject."""
    labelled = [np.flatnonzero((data["subject"] == subject) & data["mask"]) for subject in (0, 1, 2, 3, 5, 6)]
    draws = draw_subjects(len(labelled), NUM_RESAMPLES, seed)
    return [np.concatenate([labelled[subject] for subject in draw]) for draw in draws]


def test_interval_equals_resampling_of_frames(data) -> None:
    found = ccc_interval(
        data["prediction"], data["target"], data["mask"], data["subject"], seed=3, num_resamples=NUM_RESAMPLES
    )
    values = np.array(
        [all_ccc(data["prediction"][rows], data["target"][rows]) for rows in resampled_frames(data, 3)]
    )
    low, high = np.percentile(values, [2.5, 97.5], axis=0)
    estimate = all_ccc(data["prediction"][data["mask"]], data["target"][data["mask"]])
    for index, name in enumerate(("valence", "arousal", "mean")):
        interval = getattr(found, name)
        assert interval.estimate == pytest.approx(estimate[index], abs=1e-12)
        assert interval.low == pytest.approx(low[index], abs=1e-12)
        assert interval.high == pytest.approx(high[index], abs=1e-12)
    assert found.num_subjects == 6


def test_difference_is_paired(data) -> None:
    found = paired_ccc_difference(
        data["prediction"],
        data["other"],
        data["target"],
        data["mask"],
        data["subject"],
        seed=4,
        num_resamples=NUM_RESAMPLES,
    )
    values = np.array(
        [
            all_ccc(data["prediction"][rows], data["target"][rows])
            - all_ccc(data["other"][rows], data["target"][rows])
            for rows in resampled_frames(data, 4)
        ]
    )
    low, high = np.percentile(values, [2.5, 97.5], axis=0)
    for index, name in enumerate(("valence", "arousal", "mean")):
        interval = getattr(found, name)
        assert interval.low == pytest.approx(low[index], abs=1e-12)
        assert interval.high == pytest.approx(high[index], abs=1e-12)
        assert interval.low < interval.estimate < interval.high


def test_difference_to_itself_is_nothing(data) -> None:
    found = paired_ccc_difference(
        data["prediction"], data["prediction"], data["target"], data["mask"], data["subject"]
    )
    assert (found.mean.estimate, found.mean.low, found.mean.high) == (0, 0, 0)


def test_masked_frames_have_no_influence(data) -> None:
    changed = {name: data[name].copy() for name in ("prediction", "target")}
    for values in changed.values():
        values[~data["mask"]] = np.nan
    arguments = (data["mask"], data["subject"])
    assert ccc_interval(changed["prediction"], changed["target"], *arguments) == ccc_interval(
        data["prediction"], data["target"], *arguments
    )


def test_seed_decides(data) -> None:
    arguments = (data["prediction"], data["target"], data["mask"], data["subject"])
    assert ccc_interval(*arguments, seed=1) == ccc_interval(*arguments, seed=1)
    assert ccc_interval(*arguments, seed=1).mean.low != ccc_interval(*arguments, seed=2).mean.low


def test_one_subject_has_no_interval(data) -> None:
    found = ccc_interval(data["prediction"], data["target"], data["mask"], np.zeros_like(data["subject"]))
    assert np.isnan([found.mean.low, found.mean.high]).all()
    assert np.isfinite(found.mean.estimate)


def test_equal_constants_score_one() -> None:
    constant = np.full((6, 2), 0.1)
    found = ccc_interval(constant, constant, np.ones(6, bool), np.arange(6))
    assert (found.mean.estimate, found.mean.low) == (1, 1)
    found = ccc_interval(constant + 0.2, constant, np.ones(6, bool), np.arange(6))
    assert found.mean.estimate == pytest.approx(0, abs=1e-12)


def test_no_labels_at_all(data) -> None:
    with pytest.raises(HeadError, match="at least one labelled frame"):
        ccc_interval(data["prediction"], data["target"], np.zeros_like(data["mask"]), data["subject"])


def test_sides_of_a_video_are_one_subject() -> None:
    clip_ids = ("10-60_right", "10-60_left", "2", "10-60", "left_2", "2_left_x")
    assert [subject_of(clip_id) for clip_id in clip_ids] == [
        "10-60",
        "10-60",
        "2",
        "10-60",
        "left_2",
        "2_left_x",
    ]
    assert subject_of_rows(clip_ids, np.array([2, 1, 1, 2, 0, 1])).tolist() == [0, 0, 0, 1, 0, 0, 3]
