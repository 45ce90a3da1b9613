"""What tests of the command line share: a small project, in which documented commands run."""

from __future__ import annotations

import fcntl
import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest
import torch

from pipeline.run.clip_supervisor import ClipProcess


def _helper(name: str, folder: Path = Path(__file__).parent) -> ModuleType:
    """A helper by its path; under pytest's importlib mode, test folders are not importable by name."""
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def documented() -> ModuleType:
    """`documented_commands`: what help texts and pages have of commands."""
    return _helper("documented_commands")


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """One folder for all of pytest's processes."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def modules_folder(shared_folder: Path) -> Path:
    """Where the example project's backbones and heads are imported from."""
    folder = shared_folder / "modules"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def in_project(monkeypatch: pytest.MonkeyPatch, modules_folder: Path) -> Callable[[Path], pytest.MonkeyPatch]:
    """Makes a folder the working folder, with a home and a cache folder of its own."""

    def enter(folder: Path) -> pytest.MonkeyPatch:
        torch.set_num_threads(1)
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(str(modules_folder))
        for name, value in {
            "TAGF_WORK_DIR": str(folder / "work"),
            "TAGF_WEIGHTS_DIR": str(folder / "weights"),
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(modules_folder),
            "COLUMNS": "120",
        }.items():
            monkeypatch.setenv(name, value)
        return monkeypatch

    return enter


@pytest.fixture
def made_project(
    in_project: Callable[[Path], pytest.MonkeyPatch],
    shared_folder: Path,
    modules_folder: Path,
    capfd: pytest.CaptureFixture[str],
) -> Callable[[], Path]:
    """Where the example project lies, which the first process that asks makes; not to be changed."""
    made = shared_folder / "example_project"

    def get() -> Path:
        with (shared_folder / "example_project.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            new = shared_folder / "example_project.new"
            assert not new.exists(), "the example project could not be made, as another test says"
            if not made.exists():
                new.mkdir()
                shutil.copy(Path(__file__).parents[1] / "tiny_backbones.py", modules_folder)
                _write_own_head(modules_folder)
                _helper("example_project").build(new, in_project(new), lambda: capfd.readouterr().err)
                new.rename(made)
        return made

    return get


@pytest.fixture
def enter_project(
    made_project: Callable[[], Path],
    in_project: Callable[[Path], pytest.MonkeyPatch],
    shared_folder: Path,
    worker_id: str,
) -> Callable[[], Path]:
    """Makes a copy of the example project the working folder of this test, when it is first called."""
    # One place for all tests of this process: the process for clips that is kept stays in it.
    folder = shared_folder / f"project_{worker_id}"
    entered: list[Path] = []

    def enter() -> Path:
        if not entered:
            made = made_project()
            folder.mkdir(exist_ok=True)
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            shutil.copytree(made, folder, dirs_exist_ok=True)
            in_project(folder)
            entered.append(folder)
        return folder

    return enter


def _write_own_head(folder: Path) -> None:
    """The head of docs/heads.md, under the names that the pages give it."""
    page = (Path(__file__).parents[3] / "docs" / "heads.md").read_text(encoding="utf-8")
    source = page.partition("```python\n")[2].partition("```")[0]
    (folder / "my_heads").mkdir()
    (folder / "my_heads" / "weighted_sum.py").write_text(source)


@pytest.fixture(scope="session")
def documented_run() -> ModuleType:
    """`documented_run`: runs or checks one documented command."""
    return _helper("documented_run")


@pytest.fixture(scope="session")
def made_by() -> tuple[str, ...]:
    """The commands that made the example project."""
    return _helper("example_project").COMMANDS


class _KeptProcess:
    """A process for clips that stays when a command ends, so that the next one need not load torch again."""

    def __init__(self, process: ClipProcess) -> None:
        self.run = process.run
        self.end = process.close

    def close(self) -> None:
        """Not yet."""


class _KeptProcesses:
    """Makes processes for clips in the place of `ClipProcess`, one of a kind: commands have one worker."""

    def __init__(self) -> None:
        self._kept: dict[str, _KeptProcess] = {}
        self._folder: Path | None = None

    def __call__(self, module: str, environment: Mapping[str, str]) -> _KeptProcess:
        if Path.cwd() != self._folder:
            self.end()  # one started elsewhere would read and write there
            self._folder = Path.cwd()
        if module not in self._kept:
            self._kept[module] = _KeptProcess(ClipProcess(module, environment))
        return self._kept[module]

    def end(self) -> None:
        """End them; the next command starts its own."""
        for process in self._kept.values():
            process.end()


@pytest.fixture(scope="session")
def clip_processes() -> Iterator[_KeptProcesses]:
    kept = _KeptProcesses()
    yield kept
    kept.end()


@pytest.fixture
def tagf(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    clip_processes: _KeptProcesses,
) -> tuple[Callable[[list[str]], int], Callable[[], str]]:
    """Runs `tagf` in this process, and what it said last on standard error."""
    project = _helper("example_project")
    monkeypatch.setattr("pipeline.prediction.prediction_workers.ClipProcess", clip_processes)

    def call(words: list[str]) -> int:
        if words[:2] == ["predict", "--features"]:
            clip_processes.end()  # it holds stores open that lay in the same place in another project
        return project.call(words, monkeypatch)

    return call, lambda: capfd.readouterr().err
