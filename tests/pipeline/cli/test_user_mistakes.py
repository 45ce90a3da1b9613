"""What a user sees after a mistake: one line, an exit code, no traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

TAGF = Path(sys.executable).parent / "tagf"
DATA = "--features data/features.zarr --annotations data/corpus/annotations"
HEAD = "--checkpoint runs/tagf/best.safetensors"
EXTRACT = "extract --out new.zarr --source my_videos"


class Mistake(NamedTuple):
    """A command that cannot work.

    Attributes:
        command: Words after `tagf`.
        code: Exit code.
        names: What was wrong, and where: in the message, each of them.
        remedy: The next step, in the message as well.
    """

    command: str
    code: int
    names: tuple[str, ...]
    remedy: str


# Settings, labels and files with mistakes in them, beside those of the example project.
FILES = {
    "misspelt.yaml": "extract: {faces: {detect_evry: 5}}\n",
    "words.yaml": "train: {lr: fast}\n",
    "elsewhere.yaml": "train: {head: {window: 3}}\nextract: {lr: 1}\n",
    "section.yaml": "trian: {lr: 1}\n",
    "twice.yaml": "train: {lr: 1, lr: 2}\n",
    "broken.yaml": "train: [lr\n",
    "choice.yaml": "extract: {faces: {align: similar}}\n",
    "weights.yaml": "extract: {visual: {weights: ir50-ferplus}}\n",
    "nothing.yaml": "extract: {visual: {weights: my_ir50.pth}}\n",
    "folds.yaml": "evaluate: {split: test}\ntrain: {seed: 1}\n",
    "backbone.yaml": "extract: {visual: {backbone: ir500}}\n",
    "table.csv": "clip_id,vidio\na,b.mp4\n",
    "notes.txt": "a page of notes\n",
    "words/Train_Set/subject_000.txt": "valence,arousal\n0.1,high\n",
    "words/Validation_Set/subject_002.txt": "valence,arousal\n0.1,0.2\n",
    "range/Train_Set/subject_000.txt": "valence,arousal\n0.1,2.5\n",
    "range/Validation_Set/subject_002.txt": "valence,arousal\n0.1,0.2\n",
    "no_video/fake.mp4": "this is text\n",
    "empty/.keep": "",
}

MISTAKES = [
    # Words of the command line.
    Mistake("extrct", 2, ("'extrct' is not a command",), "did you mean 'extract'"),
    Mistake("cache inof data/features.zarr", 2, ("inof",), "'info'"),
    Mistake("train --featurs x", 2, ("--featurs",), "'--features'"),
    Mistake("train --lr 1", 2, ("--lr",), "tagf train --help"),
    Mistake("extract --source x", 2, ("--out",), "tagf extract --help"),
    Mistake(f"{EXTRACT} --layout video", 2, ("--layout", "'video'"), "did you mean 'videos'"),
    Mistake(
        f"evaluate {DATA} {HEAD} --out m.json --split tst", 2, ("--split", "'tst'"), "did you mean 'test'"
    ),
    Mistake(f"compare {DATA} --out c --seeds 0;1", 2, ("--seeds", "'0;1'"), "0,1,2"),
    Mistake(f"train {DATA} --out r --fold two", 2, ("--fold", "'two'"), "all"),
    Mistake(f"train {DATA} --out s3://b/run", 2, ("s3://b/run",), "write it here and copy it there"),
    Mistake("extract --source s3://b/videos --out f.zarr", 2, ("s3://b/videos",), "copy it here first"),
    Mistake("weights fetch vgish-audioset", 2, ("vgish-audioset",), "did you mean 'vggish-audioset'"),
    Mistake("completion tcsh", 2, ("tcsh",), "'bash', 'zsh', 'fish'"),
    # Settings.
    Mistake(
        f"{EXTRACT} --params misspelt.yaml",
        1,
        ("misspelt.yaml", "extract.faces.detect_evry"),
        "'detect_every'",
    ),
    Mistake(
        f"train {DATA} --out r --params words.yaml",
        1,
        ("words.yaml", "train.lr", "fast"),
        "expected a number",
    ),
    Mistake(
        f"train {DATA} --out r --params elsewhere.yaml",
        1,
        ("train.head.window",),
        "did you mean 'train.window'",
    ),
    Mistake(f"{EXTRACT} --params elsewhere.yaml", 1, ("extract.lr",), "'lr' belongs to train: set train.lr"),
    Mistake(f"train {DATA} --out r --params section.yaml", 1, ("section 'train'",), "is 'trian' misspelt"),
    Mistake(f"train {DATA} --out r --params twice.yaml", 1, ("twice.yaml", "line 1"), "'lr' is given twice"),
    Mistake(f"train {DATA} --out r --params broken.yaml", 1, ("broken.yaml", "line 2"), "not valid YAML"),
    Mistake(f"train {DATA} --out r --params none.yaml", 1, ("none.yaml",), "No such file"),
    Mistake(f"{EXTRACT} --params choice.yaml", 1, ("extract.faces.align",), "did you mean 'similarity'"),
    Mistake(f"{EXTRACT} --params backbone.yaml", 1, ("ir500",), "did you mean 'ir50'"),
    Mistake(f"{EXTRACT} --params nothing.yaml", 1, ("my_ir50.pth", "no such file"), "give the path"),
    Mistake(f"{EXTRACT} --params weights.yaml", 1, ("ir50-ferplus",), "by hand"),
    # Heads and conditions.
    Mistake(f"train {DATA} --out r --head tgaf", 1, ("'tgaf' is not a head",), "did you mean 'tagf'"),
    Mistake(f"compare {DATA} --out c --heads tagf,cncat", 1, ("'cncat'",), "did you mean 'concat'"),
    Mistake(f"compare {DATA} --out c --heads tagf:lr=0.1", 1, ("'tagf:lr=0.1'", "lr is not"), "set train.lr"),
    Mistake(f"compare {DATA} --out c --heads tagf:causl=true", 1, ("causl",), "did you mean 'causal'"),
    Mistake(f"train {DATA} --out r --head my_heads.none:Head", 1, ("my_heads.none",), "correct the name"),
    Mistake(f"robustness {DATA} {HEAD} --out r --conditions blurr", 2, ("'blurr'",), "did you mean 'blur'"),
    Mistake(f"robustness {DATA} {HEAD} --out r --conditions blur", 2, ("needs the media",), "--source"),
    Mistake(
        f"train {DATA} --out r --fold 1 --params folds.yaml", 2, ("number of folds",), "set evaluate.folds"
    ),
    Mistake(f"train {DATA} --out r --device gpu", 1, ("'gpu'",), "give 'auto', 'cpu' or 'cuda'"),
    # Media, stores, labels, checkpoints.
    Mistake("extract --out f.zarr --source nowhere", 1, ("nowhere",), "give the folder's path"),
    Mistake("extract --out f.zarr --source empty", 1, ("empty",), ".mp4"),
    Mistake(
        "extract --out f.zarr --layout manifest --source table.csv", 1, ("table.csv", "vidio"), "'video'"
    ),
    Mistake("train --features empty --annotations my_labels --out r", 1, ("empty",), "tagf extract"),
    Mistake("train --features data/features.zarr --annotations empty --out r", 1, ("empty",), "Train_Set"),
    Mistake(
        "train --features data/features.zarr --annotations words --out r",
        1,
        ("words/Train_Set/subject_000.txt", "high"),
        "line 2",
    ),
    Mistake(
        "train --features data/features.zarr --annotations range --out r",
        1,
        ("range/Train_Set/subject_000.txt", "2.5"),
        "[-1, 1]",
    ),
    Mistake(
        f"evaluate {DATA} --checkpoint runs/none.safetensors --out m.json",
        1,
        ("runs/none.safetensors",),
        "'tagf train'",
    ),
    Mistake(
        f"evaluate {DATA} --checkpoint notes.txt --out m.json", 1, ("notes.txt", "safetensors"), "train again"
    ),
    Mistake(
        f"evaluate --features foreign.zarr --annotations my_labels {HEAD} --out m.json",
        1,
        ("foreign.zarr", "spec"),
        "tagf extract",
    ),
    Mistake("results runs/none --annotations my_labels", 1, ("runs/none",), "tagf evaluate"),
    Mistake("cache verify damaged.zarr", 1, ("damaged.zarr", "audio/c/0/0"), "is missing"),
    Mistake("cache merge data/features.zarr --out features.zarr", 1, ("features.zarr",), "--replace"),
    Mistake("cache import old --format npy --out o.zarr", 2, ("old",), "--stream visual=FOLDER"),
    Mistake("cache export data/features.zarr --format hdf --out o.h5", 2, ("'hdf'",), "did you mean 'hdf5'"),
    Mistake("cache prune-parts --yes", 2, ("no rule",), "--packed-in STORE"),
    Mistake("sample-corpus small --clips 1", 1, ("clips must be at least 4",), "got 1"),
    Mistake("sample-corpus my_labels --clips 4 --seconds 1", 1, ("my_labels",), "name a new or empty folder"),
    # Predictions, pages, live, sharing.
    Mistake(f"predict nowhere.mp4 {HEAD} --out p", 1, ("nowhere.mp4", "found nothing"), "check the path"),
    Mistake(f"predict empty {HEAD} --out p", 1, ("empty", "found no files"), "give the folder"),
    Mistake(
        f"predict video.mp4 {HEAD} --out p --smooth medain:0.5", 1, ("medain:0.5",), "did you mean 'median'"
    ),
    Mistake(f"predict video.mp4 {HEAD} --out p --format cvs", 2, ("'cvs'",), "did you mean 'csv'"),
    Mistake(f"predict video.mp4 {HEAD} --out p --format abaw", 2, ("--format abaw",), "goes with --template"),
    Mistake(
        "predict video.mp4 --checkpoint none.safetensors --out p", 1, ("none.safetensors",), "give a run's"
    ),
    Mistake(
        "submit check notes.txt --template none.txt", 1, ("none.txt",), "give the organisers' sample file"
    ),
    Mistake("submit write runs/none --template notes.txt --out s", 1, ("runs/none",), "give the folder of"),
    Mistake("report empty --out r.html", 1, ("empty", "expected a run"), "name the --out of"),
    Mistake("export empty --out shared", 1, ("no best.safetensors", "empty"), "train a head first"),
    Mistake(f"live {HEAD}", 2, ("a file or --camera",), "tagf live --help"),
    Mistake("live video.mp4 --checkpoint runs/none", 1, ("runs/none",), "OWNER/NAME"),
]


@pytest.fixture
def mistaken(made_project, in_project, shared_folder: Path, worker_id: str) -> Path:
    """The example project with mistakes in it; one for all tests of a process, for nothing comes of them."""
    folder = shared_folder / f"mistaken_{worker_id}"
    if not folder.exists():
        shutil.copytree(made_project(), folder)
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        (folder / "empty" / ".keep").unlink()
        shutil.copytree(folder / "data" / "features.zarr", folder / "damaged.zarr")
        shutil.rmtree(folder / "damaged.zarr" / "audio" / "c" / "0")
    in_project(folder)
    return folder


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.command.replace(" ", "_")[:60])
def test_mistake_is_named_on_one_line(mistaken, tagf, mistake):
    call, read_errors = tagf
    read_errors()
    code = call(mistake.command.split())
    lines = read_errors().splitlines()
    assert code == mistake.code
    assert len(lines) == 1, lines
    for text in (*mistake.names, mistake.remedy):
        assert text in lines[0]
    assert "internal error" not in lines[0]


def test_there_are_thirty_different_mistakes_over_all_commands():
    from pipeline.cli import _COMMANDS

    assert len({mistake.command for mistake in MISTAKES}) >= 30
    # What is left has nothing to get wrong but its options.
    assert {mistake.command.split()[0] for mistake in MISTAKES} >= {*_COMMANDS} - {"doctor", "plot-page"}


def test_sample_corpus_leaves_a_foreign_folder_alone(mistaken: Path, tagf: tuple[Callable, Callable]):
    Path("foreign").mkdir()
    Path("foreign", "thesis.txt").write_text("years of work")
    call, read_errors = tagf
    read_errors()
    assert call(["sample-corpus", "foreign", "--clips", "4", "--seconds", "1"]) == 1
    (line,) = read_errors().splitlines()
    assert "foreign" in line
    assert Path("foreign", "thesis.txt").read_text() == "years of work"


def test_installed_command_ends_with_one_line_and_no_traceback(tmp_path):
    done = subprocess.run(
        [TAGF, "extract", "--source", tmp_path / "nowhere", "--out", tmp_path / "f.zarr"],
        capture_output=True,
        text=True,
        env={**os.environ, "TAGF_WORK_DIR": str(tmp_path / "work")},
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_debug_shows_where(tmp_path):
    done = subprocess.run(
        [TAGF, "--debug", "extract", "--source", tmp_path / "nowhere", "--out", tmp_path / "f.zarr"],
        capture_output=True,
        text=True,
    )
    assert "Traceback" in done.stderr
