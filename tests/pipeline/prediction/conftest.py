"""What the tests of files share: rows of a clip that no head has predicted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.prediction.predicted_rows import PredictedRows

GATES = {"visual": ("H0", "H1", "H2"), "audio": ("H0", "H1")}

MakeRows = Callable[..., PredictedRows]


def make_rows(
    num_rows: int = 10,
    *,
    clip_id: str = "clip",
    first_frame: int = 0,
    start_s: float = 0.0,
    rate_hz: float = 25.0,
    deviation: bool = True,
    seed: int = 0,
) -> PredictedRows:
    """Rows at a constant rate, every fourth without a face."""
    rng = np.random.default_rng(seed + first_frame)
    frame = np.arange(first_frame, first_frame + num_rows, dtype=np.int64)
    found = frame % 4 != 3
    corner = rng.uniform(0, 50, (num_rows, 2))
    box = np.hstack([corner, corner + rng.uniform(20, 40, (num_rows, 2))]).astype(np.float32)
    return PredictedRows(
        clip_id=clip_id,
        frame=frame,
        time_s=start_s + frame / rate_hz,
        values=rng.uniform(-1, 1, (num_rows, 2)).astype(np.float32),
        deviation=rng.uniform(0, 1, (num_rows, 2)).astype(np.float32) if deviation else None,
        face_found=found,
        face_box=np.where(found[:, None], box, np.float32(0)),
        face_score=np.where(found, rng.uniform(0.9, 1, num_rows), 0).astype(np.float32),
        gates={
            gate: rng.dirichlet(np.ones(len(candidates)), num_rows).astype(np.float32)
            for gate, candidates in GATES.items()
        },
    )


@pytest.fixture(scope="session", name="make_rows")
def _make_rows() -> MakeRows:
    return make_rows


@pytest.fixture(scope="session")
def gates() -> dict[str, tuple[str, ...]]:
    """Gates of those rows, and their candidates."""
    return GATES
