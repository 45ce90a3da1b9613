"""Heads on the sample corpus over several seeds: what README and docs/benchmarks.md report.

Needs the store and the labels that `dvc repro extract` leaves. A head may be given with settings of its own,
to measure what a choice is worth:

    python benchmarks/sample_corpus.py --head tagf:causal=true --head tagf:causal=false --result head_choices
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import yaml
from joblib import Parallel, delayed
from machine import write_result

from cache.settings import load_section, parse_settings, to_mapping
from tagf_head.annotations import load_annotations
from tagf_head.config import EvaluateConfig, HeadConfig, TrainConfig
from tagf_head.data.split_data import SplitData, load_split, open_features
from tagf_head.evaluation.bootstrap import paired_ccc_difference
from tagf_head.evaluation.evaluate import Evaluation, evaluate_head
from tagf_head.training.train import train_head

HEADS = ("tagf", "concat", "visual_only", "audio_only")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """One head of one seed: its evaluation, and the mean CCC on the validation split in its best epoch."""

    evaluation: Evaluation
    validation_ccc: float


@click.command()
@click.option("--features", type=click.Path(path_type=Path), default=Path("data/features.zarr"))
@click.option("--annotations", type=click.Path(path_type=Path), default=Path("data/corpus/annotations"))
@click.option("--params", type=click.Path(path_type=Path), default=Path("params.yaml"))
@click.option("--head", "heads", multiple=True, default=HEADS, help="NAME or NAME:setting=value,...")
@click.option("--reference", default="concat", help="Head that the others are compared to, seed by seed.")
@click.option("--split", default="test", help="validation while settings are chosen, test for the record.")
@click.option("--num-seeds", default=5)
@click.option("--result", default="sample_corpus", help="Name of the result file.")
def main(
    features: Path,
    annotations: Path,
    params: Path,
    heads: tuple[str, ...],
    reference: str,
    split: str,
    num_seeds: int,
    result: str,
) -> None:
    config = load_section(params, "train", TrainConfig)
    evaluate = dataclasses.replace(load_section(params, "evaluate", EvaluateConfig), split=split)
    jobs = [(head, seed) for head in heads for seed in range(num_seeds)]
    evaluations = Parallel(n_jobs=os.cpu_count(), verbose=1)(
        delayed(_trained_and_evaluated)(
            features,
            annotations,
            dataclasses.replace(config, head=_varied(config.head, head), seed=seed),
            evaluate,
        )
        for head, seed in jobs
    )
    found = dict(zip(jobs, evaluations, strict=True))
    data = load_split(open_features(features), load_annotations(annotations), evaluate.split, device="cpu")
    figures: dict[str, Any] = {
        "split": split,
        "num_seeds": num_seeds,
        "clips": len(data.clip_ids),
        "heads": {},
    }
    for head in heads:
        of_head = [found[head, seed] for seed in range(num_seeds)]
        figures["heads"][head] = _scores(of_head)
        print(
            head, {name: f"{each['mean']} +- {each['sd']}" for name, each in figures["heads"][head].items()}
        )
        if reference in heads and head != reference:
            figures["heads"][head][f"mean_ccc_minus_{reference}"] = [
                _difference(found[head, seed].evaluation, found[reference, seed].evaluation, data)
                for seed in range(num_seeds)
            ]
    options = "".join(f" --head {head}" for head in heads) if heads != HEADS else ""
    figures["command"] = (
        f"python benchmarks/sample_corpus.py{options} --reference {reference} --result {result}"
    )
    write_result(result, figures)


def _varied(config: HeadConfig, head: str) -> HeadConfig:
    """The head of a name, with the settings that follow it."""
    name, _, changes = head.partition(":")
    own = dict(change.split("=") for change in changes.split(",") if change)
    mapping = to_mapping(config) | {"name": name} | {key: yaml.safe_load(value) for key, value in own.items()}
    return parse_settings(HeadConfig, mapping, where=f"--head {head}")


def _trained_and_evaluated(
    features: Path, annotations: Path, config: TrainConfig, evaluate: EvaluateConfig
) -> Trial:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        trained = train_head(features, annotations, run, config, work_dir=run / "work")
        checkpoint = run / "best.safetensors"
        return Trial(
            evaluation=evaluate_head(
                features, annotations, checkpoint, run / "metrics.json", config=evaluate
            ),
            validation_ccc=trained.info.validation_ccc["mean"],
        )


def _scores(trials: list[Trial]) -> dict[str, dict[str, Any]]:
    """Mean, standard deviation and values over the seeds."""
    metrics = [each.evaluation.metrics for each in trials]
    columns = {
        "validation_mean_ccc": [each.validation_ccc for each in trials],
        "valence_ccc": [each["valence"]["ccc"] for each in metrics],
        "arousal_ccc": [each["arousal"]["ccc"] for each in metrics],
        "mean_ccc": [each["mean_ccc"] for each in metrics],
    }
    return {
        name: {
            "mean": round(float(np.mean(values)), 3),
            "sd": round(float(np.std(values, ddof=1)), 3),
            "seeds": [round(value, 3) for value in values],
        }
        for name, values in columns.items()
    }


def _difference(one: Evaluation, other: Evaluation, data: SplitData) -> dict[str, float]:
    difference = paired_ccc_difference(
        one.predictions.values,
        other.predictions.values,
        data.label,
        data.label_mask,
        data.groups.of_rows(data.row_size),
    ).mean
    return {name: round(getattr(difference, name), 3) for name in ("estimate", "low", "high")}


if __name__ == "__main__":
    main()
