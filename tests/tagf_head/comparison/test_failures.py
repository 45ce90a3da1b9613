"""What is said of a trial that failed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tagf_head.comparison.entry import Entry
from tagf_head.comparison.failures import failure_status, failure_text
from tagf_head.comparison.progress import TrialProgress
from tagf_head.comparison.trial import Trial, TrialOutcome, TrialSettings, run_trial
from tagf_head.config import EvaluateConfig, TrainConfig
from tagf_head.errors import HeadError
from tagf_head.head_config import HeadConfig


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            "out of memory",
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), "out of memory"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
        (MemoryError(), "out of memory"),
        (OSError(28, "No space left on device"), "disk full"),
        (HeadError("a setting named CUBLAS_STATUS_ALLOC_FAILED"), "failed"),
        (RuntimeError("CUDA error: device-side assert triggered"), "failed"),
    ],
)
def test_what_may_be_the_machines_fault(error: Exception, status: str) -> None:
    assert failure_status(error) == status


def test_ones_own_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "failing_head.py"
    file.write_text("import torch\n\n\ndef estimate():\n    return torch.zeros(2) @ torch.zeros(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    import failing_head  # type: ignore[import-not-found]

    with pytest.raises(RuntimeError) as found:
        failing_head.estimate()
    assert failure_text(found.value, "failing_head:Mine").endswith(f" ({file}:5)")
    assert "(" not in failure_text(RuntimeError("of ours"), "failing_head:Mine")
    assert str(file) not in failure_text(found.value, "concat")


def settings(tmp_path: Path, device: str = "cpu") -> TrialSettings:
    return TrialSettings(
        features=(tmp_path / "none.zarr",),
        annotations=tmp_path,
        out=tmp_path / "out",
        train=TrainConfig(),
        evaluate=EvaluateConfig(),
        num_folds=None,
        device=device,
        work_dir=None,
        num_threads=None,
    )


TRIAL = Trial(entry=Entry(name="x", folder="x", head=HeadConfig()), seed=0)


def test_nothing_escapes_a_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the end of the interpreter, nor a device that is lost when its memory is given back."""

    def lost(*args: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def leave(*args: object) -> None:
        raise SystemExit("my head gives up")

    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lost)
    monkeypatch.setattr("tagf_head.comparison.trial.open_features", leave)
    outcome = run_trial(TRIAL, settings(tmp_path, "cuda"))
    assert (outcome.status, outcome.error) == ("failed", "SystemExit: my head gives up")
    assert outcome.is_process_spoilt
    assert outcome.traceback_file is not None
    assert "SystemExit" in outcome.traceback_file.read_text()
    assert not run_trial(TRIAL, settings(tmp_path)).is_process_spoilt


def test_the_time_left_is_that_of_trainings() -> None:
    lines: list[str] = []
    progress = TrialProgress(4, 1, lines.append)
    for status, seconds in (("evaluated", 0.1), ("failed", 0.1), ("trained", 60.0)):
        progress.add(TrialOutcome(trial=TRIAL, status=status, seconds=seconds, error="bad"))  # type: ignore[arg-type]
    assert lines == [
        "x, seed 0: evaluated again, not trained; 1 of 4 trials",
        "x, seed 0: failed: bad; 2 of 4 trials",
        "x, seed 0: trained in 60 s; 3 of 4 trials, about 60 s left",
    ]
