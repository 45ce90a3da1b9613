"""Which checkpoints are measured: of a comparison, those that its table stands on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tagf_head.errors import CheckpointError
from tagf_head.robustness.checkpoint_search import find_checkpoints


def write_runs(folder: Path, *runs: str) -> list[Path]:
    paths = [folder / run / "best.safetensors" for run in runs]
    for path in paths:
        path.parent.mkdir(parents=True)
        path.touch()
    return paths


def test_folders_are_searched(tmp_path: Path) -> None:
    write_runs(tmp_path, "concat/seed-1", "concat/seed-0", "tagf/seed-0")
    other = tmp_path / "other.safetensors"
    found = find_checkpoints([other, tmp_path / "concat"])
    assert found == (other, *(tmp_path / f"concat/seed-{seed}/best.safetensors" for seed in (0, 1)))
    assert len(find_checkpoints([tmp_path])) == 3
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"no best\.safetensors below .*empty"):
        find_checkpoints([tmp_path / "empty"])


def test_each_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    concat, tagf = write_runs(tmp_path, "concat/seed-0", "tagf/seed-0")
    assert find_checkpoints([tmp_path / "tagf", tmp_path, tagf]) == (tagf, concat)
    monkeypatch.chdir(tmp_path)
    relative = Path("tagf/seed-0/best.safetensors")
    assert find_checkpoints([relative, tagf, tmp_path / "tagf/../tagf"]) == (relative,)


def test_former_trials_of_a_comparison_are_left_out(tmp_path: Path) -> None:
    out = tmp_path / "comparison"
    runs = (
        "tagf/seed-0",
        "tagf/seed-1",
        "concat/seed-0",
        "concat/seed-10",
        "rjca/seed-0/fold-1",
        "rjca/seed-1/fold-1",
    )
    tagf, former_seed, former_head, concat, fold, former_fold = write_runs(out, *runs)
    plain, tuned = write_runs(tmp_path, "plain", "comparison/tuning/best")
    (out / "comparison.csv").write_text(
        "head,folder,split,seeds\ntagf,tagf,test,0 2\nconcat,concat,test,10\nrjca,rjca,fold,0\n"
    )
    lines: list[str] = []
    expected = {tagf, concat, fold, plain, tuned}
    assert set(find_checkpoints([tmp_path], lines.append)) == expected
    assert len(lines) == 1
    former = ", ".join(str(path.parent) for path in (former_head, former_fold, former_seed))
    assert lines[0].endswith(f"no such trials: {former}")
    # Also where the folder given is one within the comparison; a file that is given is meant.
    assert find_checkpoints([out / "tagf"]) == (tagf,)
    lines.clear()
    assert find_checkpoints([former_seed, out / "tagf"], lines.append) == (former_seed, tagf)
    assert not lines
    with pytest.raises(CheckpointError, match=r"seed-1 is of a trial in the table .* give the files"):
        find_checkpoints([former_seed.parent])


def test_a_table_of_something_else_says_nothing(tmp_path: Path) -> None:
    paths = write_runs(tmp_path, "tagf/seed-0", "tagf/seed-1")
    for text in ("head,mean\ntagf,0.3\n", "folder,seeds\ntagf,0;1\n", "folder,seeds\ntagf\n", "\0"):
        (tmp_path / "comparison.csv").write_text(text)
        assert find_checkpoints([tmp_path]) == tuple(paths)
