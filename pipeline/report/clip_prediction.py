"""What a report takes of one clip, wherever the predictions lie.

Letters in shapes: N rows of the clip, M candidates of a gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class GateTrace:
    """The weights of one gate over a clip.

    Attributes:
        candidates: Names of the M candidates.
        weights: ``(N, M)`` float, sums to 1 in each row.
    """

    candidates: tuple[str, ...]
    weights: NDArray[np.floating]


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipPrediction:
    """The rows of one clip.

    Attributes:
        clip_id: The clip.
        frame: ``(N,)`` int64, index of the decoded picture in its video.
        time_s: ``(N,)`` float64, on the container's timeline; rising.
        values: ``(N, 2)`` float32, valence and arousal.
        deviation: ``(N, 2)`` float32, standard deviations; None where none are known.
        face_found: ``(N,)`` bool.
        gates: By the gate's name.
    """

    clip_id: str
    frame: NDArray[np.int64]
    time_s: NDArray[np.float64]
    values: NDArray[np.float32]
    deviation: NDArray[np.float32] | None
    face_found: NDArray[np.bool_]
    gates: Mapping[str, GateTrace] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def frame_s(self) -> float:
        """Median time from one row to the next in seconds; 0.04 where there is but one."""
        return float(np.median(np.diff(self.time_s))) if len(self) > 1 else 0.04


class PredictionSource(Protocol):
    """Where clips' predictions lie."""

    @property
    def clip_ids(self) -> Sequence[str]:
        """Clips with predictions, in the order of the files."""

    def read(self, clip_id: str) -> ClipPrediction:
        """The rows of one clip.

        Raises:
            ReportError: They cannot be read.
        """


def gate_traces(names: Sequence[str], weights: NDArray[np.floating]) -> dict[str, GateTrace]:
    """Gates from columns called GATE_CANDIDATE.

    Args:
        names: The columns.
        weights: ``(N, columns)``.

    >>> gates = gate_traces(["visual_H0", "visual_H1"], np.array([[0.25, 0.75]]))
    >>> gates["visual"].candidates
    ('H0', 'H1')
    """
    columns: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        columns.setdefault(name.partition("_")[0], []).append(index)
    return {
        gate: GateTrace(
            candidates=tuple(names[index].partition("_")[2] for index in indices),
            weights=weights[:, indices],
        )
        for gate, indices in columns.items()
    }
