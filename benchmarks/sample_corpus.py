"""The four heads on the sample corpus over several seeds: what README and docs/benchmarks.md report.

Needs the store and the labels that `dvc repro extract` leaves; trains and evaluates on the test split.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import click
import numpy as np
from machine import write_result

from cache import FeatureStore
from cache.settings import load_section
from tagf_head.annotations import load_annotations
from tagf_head.bootstrap import paired_ccc_difference, subject_of_rows
from tagf_head.config import EvaluateConfig, TrainConfig
from tagf_head.data import load_split
from tagf_head.evaluate import evaluate_head
from tagf_head.train import train_head

HEADS = ("tagf", "concat", "visual_only", "audio_only")


@click.command()
@click.option("--features", type=click.Path(path_type=Path), default=Path("data/features.zarr"))
@click.option("--annotations", type=click.Path(path_type=Path), default=Path("data/corpus/annotations"))
@click.option("--params", type=click.Path(path_type=Path), default=Path("params.yaml"))
@click.option("--split", default="test", help="validation while settings are chosen, test for the record.")
@click.option("--seeds", default="0,1,2")
@click.option("--heads", default=",".join(HEADS))
def main(features: Path, annotations: Path, params: Path, split: str, seeds: str, heads: str) -> None:
    store = FeatureStore.open(features)
    config = load_section(params, "train", TrainConfig)
    evaluate = dataclasses.replace(load_section(params, "evaluate", EvaluateConfig), split=split)
    data = load_split(store, load_annotations(annotations), evaluate.split, "cpu")
    subject = subject_of_rows(data.clip_ids, data.row_size)
    ccc: dict[str, list[tuple[float, float, float]]] = {}
    predictions: dict[tuple[str, int], np.ndarray] = {}
    for head in heads.split(","):
        for seed in map(int, seeds.split(",")):
            settings = dataclasses.replace(
                config, head=dataclasses.replace(config.head, name=head), seed=seed
            )
            with tempfile.TemporaryDirectory() as folder:
                run = Path(folder)
                trained = train_head(store, annotations, run, settings)
                evaluation = evaluate_head(
                    store, annotations, run / "best.safetensors", run / "metrics.json", config=evaluate
                )
            metrics = evaluation.metrics
            row = (metrics["valence"]["ccc"], metrics["arousal"]["ccc"], metrics["mean_ccc"])
            ccc.setdefault(head, []).append(row)
            predictions[head, seed] = evaluation.predictions.values
            print(
                head, seed, f"best epoch {trained.best_epoch}", *(f"{value:.3f}" for value in row), flush=True
            )

    figures: dict[str, object] = {"split": split, "seeds": seeds, "clips": len(data.clip_ids)}
    for head, rows in ccc.items():
        mean, sd = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1) if len(rows) > 1 else np.zeros(3)
        figures[head] = {
            name: {
                "mean": round(float(mean[i]), 3),
                "sd": round(float(sd[i]), 3),
                "seeds": [round(r[i], 3) for r in rows],
            }
            for i, name in enumerate(("valence_ccc", "arousal_ccc", "mean_ccc"))
        }
    if {"tagf", "concat"} <= ccc.keys():
        figures["tagf_minus_concat_mean_ccc"] = [
            {
                "seed": int(seed),
                "difference": round(d.estimate, 3),
                "low": round(d.low, 3),
                "high": round(d.high, 3),
            }
            for seed in seeds.split(",")
            for d in [
                paired_ccc_difference(
                    predictions["tagf", int(seed)],
                    predictions["concat", int(seed)],
                    data.label,
                    data.label_mask,
                    subject,
                ).mean
            ]
        ]
    write_result("sample_corpus", figures)


if __name__ == "__main__":
    main()
