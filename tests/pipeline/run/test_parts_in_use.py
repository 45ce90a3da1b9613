"""Runs that count on parts, and those who remove parts."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.run.parts_in_use import PartsInUse


def test_any_number_of_runs_and_nobody_else(tmp_path: Path) -> None:
    in_use = PartsInUse(tmp_path / "locks")
    both = r"(one .*two|two .*one) \(process \d+ on "
    with (
        in_use.by_run("one"),
        in_use.by_run("two"),
        pytest.raises(PipelineError, match=both),
        in_use.by_none(),
    ):
        pass
    with in_use.by_none():
        pass
    assert [path.name for path in (tmp_path / "locks").iterdir()] == ["parts.lock"]


def test_a_run_waits_while_parts_are_removed(tmp_path: Path) -> None:
    in_use = PartsInUse(tmp_path / "locks")
    begun = threading.Event()

    def run() -> None:
        with in_use.by_run("one"):
            begun.set()

    thread = threading.Thread(target=run)
    with in_use.by_none():
        thread.start()
        assert not begun.wait(0.2)
    assert begun.wait(10)
    thread.join()


def test_a_killed_run_is_in_nobodys_way(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom pipeline.run.parts_in_use import PartsInUse\n"
        "with PartsInUse(Path(sys.argv[1])).by_run('dead'):\n    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "locks"]).returncode == -9
    in_use = PartsInUse(tmp_path / "locks")
    with in_use.by_none():
        pass
    with in_use.by_run("one"), pytest.raises(PipelineError) as error, in_use.by_none():
        pass
    assert "dead" not in str(error.value)
    assert [path.name for path in (tmp_path / "locks").iterdir()] == ["parts.lock"]
