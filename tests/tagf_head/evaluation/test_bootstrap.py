"""Bootstrap intervals, against a resampling of the frames themselves with the same draws of groups."""

from __future__ import annotations

import numpy as np
import pytest

from tagf_head.errors import HeadError
from tagf_head.evaluation.bootstrap import ccc_interval, draw_groups, paired_ccc_difference

NUM_RESAMPLES = 60


def plain_ccc(x: np.ndarray, y: np.ndarray) -> float:
    return 2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def all_ccc(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    both = [plain_ccc(prediction[:, column], target[:, column]) for column in range(2)]
    return np.array([*both, sum(both) / 2])


@pytest.fixture(scope="module")
def data() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    group = np.repeat(np.arange(7), [30, 4, 11, 25, 3, 40, 9])
    offset = generator.normal(0, 0.2, (7, 2))[group]
    target = np.clip(generator.normal(0, 0.3, (len(group), 2)) + offset, -1, 1)
    mask = generator.random(len(group)) > 0.2
    mask[group == 4] = False  # a group without labels is not drawn
    return {
        "prediction": 0.7 * target + generator.normal(0.1, 0.2, target.shape),
        "other": 0.5 * target + generator.normal(-0.1, 0.2, target.shape),
        "target": target,
        "mask": mask,
        "group": group,
    }


def resampled_frames(data: dict[str, np.ndarray], seed: int) -> list[np.ndarray]:
    """Rows of each resample, all labelled rows of every drawn group."""
    labelled = [np.flatnonzero((data["group"] == group) & data["mask"]) for group in (0, 1, 2, 3, 5, 6)]
    draws = draw_groups(len(labelled), NUM_RESAMPLES, seed)
    return [np.concatenate([labelled[group] for group in draw]) for draw in draws]


def test_interval_equals_resampling_of_frames(data) -> None:
    found = ccc_interval(
        data["prediction"], data["target"], data["mask"], data["group"], seed=3, num_resamples=NUM_RESAMPLES
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
    assert found.num_groups == 6


def test_difference_is_paired(data) -> None:
    found = paired_ccc_difference(
        data["prediction"],
        data["other"],
        data["target"],
        data["mask"],
        data["group"],
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
        data["prediction"], data["prediction"], data["target"], data["mask"], data["group"]
    )
    assert (found.mean.estimate, found.mean.low, found.mean.high) == (0, 0, 0)


def test_masked_frames_have_no_influence(data) -> None:
    changed = {name: data[name].copy() for name in ("prediction", "target")}
    for values in changed.values():
        values[~data["mask"]] = np.nan
    arguments = (data["mask"], data["group"])
    assert ccc_interval(changed["prediction"], changed["target"], *arguments) == ccc_interval(
        data["prediction"], data["target"], *arguments
    )


def test_seed_decides(data) -> None:
    arguments = (data["prediction"], data["target"], data["mask"], data["group"])
    assert ccc_interval(*arguments, seed=1) == ccc_interval(*arguments, seed=1)
    assert ccc_interval(*arguments, seed=1).mean.low != ccc_interval(*arguments, seed=2).mean.low


def test_one_group_has_no_interval(data) -> None:
    found = ccc_interval(data["prediction"], data["target"], data["mask"], np.zeros_like(data["group"]))
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
        ccc_interval(data["prediction"], data["target"], np.zeros_like(data["mask"]), data["group"])


def test_ccc_is_averaged_over_seeds_within_every_resample(data: dict[str, np.ndarray]) -> None:
    generator = np.random.default_rng(1)
    seeds = data["prediction"] + generator.normal(0, 0.1, (3, *data["prediction"].shape))
    others = data["other"] + generator.normal(0, 0.1, (2, *data["other"].shape))
    resamples = resampled_frames(data, 5)
    of_seeds, of_others = (
        np.array([[all_ccc(each[rows], data["target"][rows]) for rows in resamples] for each in runs])
        for runs in (seeds, others)
    )
    shared = (data["target"], data["mask"], data["group"])
    found = ccc_interval(seeds, *shared, seed=5, num_resamples=NUM_RESAMPLES)
    difference = paired_ccc_difference(seeds, others, *shared, seed=5, num_resamples=NUM_RESAMPLES)
    labelled = data["mask"]
    estimates = [
        np.mean([all_ccc(each[labelled], data["target"][labelled]) for each in runs], axis=0)
        for runs in (seeds, others)
    ]
    mean_of_seeds = of_seeds.mean(axis=0)
    for column, name in enumerate(("valence", "arousal", "mean")):
        interval = getattr(found, name)
        expected = np.quantile(mean_of_seeds[:, column], (0.025, 0.975))
        assert interval.estimate == pytest.approx(estimates[0][column], abs=1e-9)
        assert (interval.low, interval.high) == pytest.approx(tuple(expected), abs=1e-9)
        paired = getattr(difference, name)
        expected = np.quantile((mean_of_seeds - of_others.mean(axis=0))[:, column], (0.025, 0.975))
        assert paired.estimate == pytest.approx(estimates[0][column] - estimates[1][column], abs=1e-9)
        assert (paired.low, paired.high) == pytest.approx(tuple(expected), abs=1e-9)
