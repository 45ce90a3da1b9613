"""Trials in a comparison's folder that other settings, features, labels or code have made.

They took hours, perhaps, and are replaced only where that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from cache import FeatureStore
from tagf_head.annotations import load_annotations
from tagf_head.checkpoint import RunInfo
from tagf_head.comparison.trial import (
    EVALUATION_FILE,
    Trial,
    TrialSettings,
    config_of,
    features_changed,
    runs_of,
)
from tagf_head.data.clip_groups import counted
from tagf_head.errors import TrainingError
from tagf_head.run_folder import CONFIG_FILE, UNFINISHED_FILE
from tagf_head.training.resumption import former_run, run_differences
from tagf_head.training.train import planned_run


def require_nothing_retrained(
    trials: Sequence[Trial], settings: TrialSettings, store: FeatureStore, report: Callable[[str], None]
) -> None:
    """Refuse to replace trials of the folder; one that was interrupted, and is the same, goes on.

    Args:
        trials: Those of the comparison.
        settings: What they share.
        store: The features.
        report: Called with a line for each reason, before the refusal.

    Raises:
        TrainingError: Some would be trained again; says why.
    """
    begun = [trial for trial in trials if any(_has_run(run) for run, _ in runs_of(trial, settings))]
    if not begun:
        return
    annotations = load_annotations(settings.annotations, settings.train.labels.gold_standard)
    device = torch.device(settings.device)
    names: dict[str, list[str]] = {}
    for trial in begun:
        config = config_of(trial, settings)
        for run, fold in runs_of(trial, settings):
            info = planned_run(store, annotations, config, device=device, fold=fold)
            if (why := _why_replaced(run, info, store)) is not None:
                names.setdefault(why, []).append(trial.name)
                break
    if not names:
        return
    for why, of_trials in names.items():
        report(f"would be trained again: {'; '.join(of_trials)}: {why}")
    (first, *others) = names
    number = sum(map(len, names.values()))
    more = f"; and {len(others)} more reasons, see above" if others else ""
    raise TrainingError(
        f"{settings.out}: {counted(number, 'trial')} would be trained again and replaced ({first}{more})"
        "; choose another --out, or --retrain"
    )


def finished_beside(trials: Sequence[Trial], out: Path) -> int:
    """Number of trials in a comparison's folder that have ended and are not among these."""
    own = {trial.folder(out) for trial in trials}
    return len({path.parent for path in out.glob(f"*/seed-*/{EVALUATION_FILE}")} - own)


def _has_run(run: Path) -> bool:
    return any((run / name).exists() for name in (UNFINISHED_FILE, CONFIG_FILE))


def _why_replaced(run: Path, info: RunInfo, store: FeatureStore) -> str | None:
    """Why the folder's run is another one than that; None where it is the same, or there is none."""
    if not _has_run(run):
        return None
    if changed := features_changed(run, store):
        return changed.removeprefix(f"{run}/")
    found = former_run(run)
    if found is None:
        return "trained with another version of tagf_head, whose files cannot be read"
    return None if found[1].key == info.key else run_differences(found[1], info)
