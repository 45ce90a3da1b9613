"""What each modality is worth to a head, frame by frame: how its prediction changes without it.

    without visual      the same windows, all visual rows zero, as where no face is found
    change              distance between the prediction p and the one without a modality, over both targets
    visual share        |p - p without visual| / (|p - p without visual| + |p - p without audio|)

A share of 1 says that taking the sound away changes nothing, 0.5 that both matter alike. It says what the
head relies on, not what is right: whether the prediction gets worse is said by the CCC without the modality.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tagf_head.config import TARGETS
from tagf_head.data.split_data import SplitData
from tagf_head.evaluation.metrics import ConcordanceMoments
from tagf_head.evaluation.predictions import Predictions, clip_column
from tagf_head.run_folder import write_file

#: Names of the streams that are taken away one at a time.
MODALITIES = ("visual", "audio")


@dataclass(frozen=True, kw_only=True, eq=False)
class Reliability:
    """Predictions with all modalities, and without each.

    Attributes:
        values: ``(N, 2)`` float32, as in the file of predictions.
        without: Modality -> ``(N, 2)`` float32, predictions without it.
    """

    values: NDArray[np.float32]
    without: Mapping[str, NDArray[np.float32]]

    def change(self, modality: str) -> NDArray[np.float64]:
        """``(N, 2)`` prediction without a modality less the prediction; exactly 0 where it has no say."""
        change: NDArray[np.float64] = self.without[modality].astype(np.float64) - self.values
        return change

    def visual_share(self) -> NDArray[np.float64]:
        """``(N,)`` share of the visual stream in both changes, in [0, 1]; NaN where nothing changes."""
        visual, audio = (np.hypot(*self.change(modality).T) for modality in MODALITIES)
        total = visual + audio
        share: NDArray[np.float64] = np.full_like(total, np.nan)
        np.divide(visual, total, where=total > 0, out=share)
        return share

    def summary(self, data: SplitData) -> dict[str, Any]:
        """Mean absolute changes over all frames, CCC without each modality, and mean share, for metrics.json.

        Args:
            data: The frames' labels.
        """
        share = self.visual_share()
        is_defined = np.isfinite(share)
        of_modality = {
            modality: {
                target: {
                    "mean_absolute_change": float(np.abs(self.change(modality)[:, column]).mean()),
                    "ccc_without": ConcordanceMoments()
                    .add(self.without[modality][:, column], data.label[:, column], data.label_mask)
                    .defined_metrics()["ccc"],
                }
                for column, target in enumerate(TARGETS)
            }
            for modality in MODALITIES
        }
        return of_modality | {"visual_share": float(share[is_defined].mean()) if is_defined.any() else None}


def write_reliability(path: Path, predictions: Predictions, reliability: Reliability) -> None:
    """Write the predictions without each modality as Parquet, one row per frame.

    Columns: `clip_id`, `frame`, `time_s`, `valence` and `arousal` as in the predictions, float32
    `TARGET_without_MODALITY`, and float32 `visual_share`, null where no modality changes anything.
    """
    share = reliability.visual_share()
    columns: dict[str, pa.Array] = {
        "clip_id": clip_column(predictions),
        "frame": pa.array(predictions.frame, pa.int64()),
        "time_s": pa.array(predictions.time_s, pa.float64()),
    }
    for suffix, values in (
        ("", reliability.values),
        *((f"_without_{modality}", reliability.without[modality]) for modality in MODALITIES),
    ):
        for column, target in enumerate(TARGETS):
            columns[f"{target}{suffix}"] = pa.array(values[:, column], pa.float32())
    columns["visual_share"] = pa.array(share.astype(np.float32), pa.float32(), mask=np.isnan(share))
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), buffer)
    write_file(path, buffer.getvalue().to_pybytes())
