"""What a training run says of its epochs: records, a line to show, training_log.csv, and TensorBoard."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tagf_head.errors import TrainingError
from tagf_head.run_folder import csv_bytes

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_GATE_ENTROPY = "gate_entropy_"
#: Columns of heads without gates, so that logs of all heads have the same ones.
_USUAL_GATES = ("visual", "audio")
#: Columns of heads that predict deviations.
_LIKELIHOODS = ("train_nll", "validation_nll")


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One line of training_log.csv.

    Attributes:
        epoch: Counted from 1.
        train_loss: Mean of the batches' losses, in training mode.
        lr: Learning rate of the epoch's last step.
        validation_ccc_valence: CCC over all labelled frames of the validation split.
        validation_ccc_arousal: Likewise.
        validation_ccc_mean: Mean of the two, by which the best epoch is chosen.
        train_nll: Mean of the batches' negative log likelihoods, in nats per frame and target; None for a
            head that predicts no deviations.
        validation_nll: That of the validation split, with the factor that the deviations would get if this
            epoch was the best; None likewise.
        gate_entropy: Gate -> mean entropy of its weights over the frames of the validation windows, in nats;
            empty for heads without gates.
    """

    epoch: int
    train_loss: float
    lr: float
    validation_ccc_valence: float
    validation_ccc_arousal: float
    validation_ccc_mean: float
    train_nll: float | None = None
    validation_nll: float | None = None
    gate_entropy: Mapping[str, float] = field(default_factory=dict)

    def values(self) -> dict[str, float]:
        """Its numbers by column."""
        columns = {
            name: value for name, value in vars(self).items() if name != "gate_entropy" and value is not None
        }
        return columns | {f"{_GATE_ENTROPY}{gate}": value for gate, value in self.gate_entropy.items()}

    @classmethod
    def from_values(cls, values: Mapping[str, float]) -> EpochRecord:
        """Inverse of `values`."""
        columns = {name: value for name, value in values.items() if not name.startswith(_GATE_ENTROPY)}
        entropy = {
            name.removeprefix(_GATE_ENTROPY): value
            for name, value in values.items()
            if name.startswith(_GATE_ENTROPY)
        }
        return cls(epoch=int(columns.pop("epoch")), **columns, gate_entropy=entropy)

    def line(self, max_epochs: int, windows_per_s: float, *, is_best: bool) -> str:
        """The line to show."""
        entropy = "  ".join(f"{gate} {value:.3f}" for gate, value in self.gate_entropy.items())
        return (
            f"epoch {self.epoch}/{max_epochs}  loss {self.train_loss:.4f}  "
            f"CCC valence {self.validation_ccc_valence:+.3f}  arousal {self.validation_ccc_arousal:+.3f}  "
            f"mean {self.validation_ccc_mean:+.3f}  lr {self.lr:.1e}  {windows_per_s:.1f} windows/s"
            + ("" if self.train_nll is None else f"  NLL {self.train_nll:+.3f}")
            + ("" if self.validation_nll is None else f"  validation {self.validation_nll:+.3f}")
            + (f"  gate entropy {entropy}" if entropy else "")
            + ("  best" if is_best else "")
        )


def log_bytes(history: Sequence[EpochRecord]) -> bytes:
    """Content of training_log.csv.

    No wall times: the log of a repeated run is the same file. Heads without gates have empty cells for the
    entropy of the usual ones; those that predict no deviations have no columns for likelihoods.
    """
    gates = history[0].gate_entropy if history and history[0].gate_entropy else _USUAL_GATES
    entropy = [f"{_GATE_ENTROPY}{gate}" for gate in gates]
    likelihoods = [name for name in _LIKELIHOODS if history and getattr(history[0], name) is not None]
    optional = ("gate_entropy", *_LIKELIHOODS)
    usual = [name for name in EpochRecord.__dataclass_fields__ if name not in optional]
    header = [*usual, *likelihoods, *entropy]
    rows = ([record.values().get(name, "") for name in header] for record in history)
    return csv_bytes(header, rows)


def read_log(content: bytes) -> tuple[EpochRecord, ...]:
    """Inverse of `log_bytes`.

    Raises:
        ValueError: The content is no such log.
    """
    try:
        return tuple(
            EpochRecord.from_values({name: float(value) for name, value in row.items() if value})
            for row in csv.DictReader(io.StringIO(content.decode()))
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no training log: {error}") from error


class TensorBoardLog:
    """Events of a run for TensorBoard, from its first epoch on.

    Nothing is written before the first epochs are added. Then events that lie in the folder are removed, and
    a resumed run adds its former epochs once more: every epoch is there once, however often it was killed.

    Args:
        folder: Where the events lie.

    Raises:
        TrainingError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise TrainingError(
                "TensorBoard was asked for and is not installed here; run pip install 'tagf[tensorboard]', "
                "or leave out --tensorboard"
            ) from error
        self._folder = folder
        self._open = SummaryWriter
        self._writer: SummaryWriter | None = None

    def add(self, records: Iterable[EpochRecord]) -> None:
        """Write some epochs, so that a running TensorBoard sees them."""
        if self._writer is None:
            for path in self._folder.glob("events.out.tfevents.*"):
                path.unlink()
            self._writer = self._open(self._folder)
        for record in records:
            for name, value in record.values().items():
                if name != "epoch":
                    self._writer.add_scalar(name, value, record.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
