"""Heads over features that are there already: no media, and none of the networks of stage one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from cache import FeatureStore
from pipeline.models import resolve_device
from pipeline.prediction.clip_rows import store_rows
from pipeline.prediction.predicted_rows import PredictedRows
from pipeline.prediction.row_prediction import predicted_rows
from pipeline.prediction.smoothed_rows import smoothed_rows
from tagf_head.evaluation.ensemble import Ensemble, load_ensemble
from tagf_head.evaluation.smoothing import Smoothing


@dataclass(frozen=True, kw_only=True, eq=False)
class StorePredictor:
    """As `Predictor`, for clips of a store alone.

    Attributes:
        ensemble: The heads.
        device: Where they compute.
        smoothing: What is done to the values over time; None for nothing.
        config: None: how the features were made is the store's affair.
    """

    ensemble: Ensemble
    device: torch.device
    smoothing: Smoothing | None
    config: None = None

    @classmethod
    def from_checkpoint(
        cls, checkpoints: Sequence[Path], *, device: str, smoothing: Smoothing | None
    ) -> StorePredictor:
        """Load heads.

        Args:
            checkpoints: Their files.
            device: `cpu`, `cuda`, `cuda:N`, or `auto`.
            smoothing: What is done to the values over time.

        Raises:
            CheckpointError: A checkpoint cannot be used, or they do not go together.
            ExtractionError: This machine lacks the device.
        """
        place = resolve_device(device)
        return cls(ensemble=load_ensemble(list(checkpoints), device=place), device=place, smoothing=smoothing)

    def stream_store(self, store: FeatureStore, clip_id: str) -> Iterator[PredictedRows]:
        """As `Predictor.stream_store`."""
        for member in self.ensemble.members:
            store.require_spec(member.checkpoint.info.spec, where=str(member.path))
        blocks = predicted_rows(self.ensemble, clip_id, store_rows(store, clip_id), self.device)
        return blocks if self.smoothing is None else smoothed_rows(blocks, self.smoothing)
