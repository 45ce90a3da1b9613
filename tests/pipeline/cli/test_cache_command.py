"""`tagf cache`: what it prints, what it leaves, and how it ends."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from cache import ClipFeatures, ClipKey, FeatureSpec, FeatureStore, PartStore, StreamSpec, pack_store
from pipeline.cli import main

SPEC = FeatureSpec(
    streams=(
        StreamSpec(name="visual", num_features=3, views=("center",)),
        StreamSpec(name="audio", num_features=2),
    ),
    settings={"audio.anchor": "center"},
)
Run = Callable[..., tuple[int, str, list[str]]]


def write_store(path: Path, clips: dict[str, int], parts: PartStore, spec: FeatureSpec = SPEC) -> Path:
    """A store of clips of so many rows, and their parts."""
    sources = []
    for clip, num_rows in clips.items():
        key = ClipKey(
            clip_id=clip,
            media_sha256="ab" * 32,
            faces_sha256=None,
            selection="largest face",
            fingerprint=spec.fingerprint,
        )
        features = ClipFeatures(
            streams={
                "visual": np.full((1, num_rows, 3), 0.5, np.float16),
                "audio": np.full((num_rows, 2), 2, np.float16),
            },
            time_s=np.arange(num_rows) / 4,
            source_frame=np.arange(num_rows),
            face_found=np.ones(num_rows, np.bool_),
            audio_found=np.arange(num_rows) % 2 == 0,
            face_box=np.ones((num_rows, 4), np.float32),
            face_score=np.ones(num_rows, np.float32),
        )
        parts.commit(key, features, {"code_digest": "c0de", "machine": "Fast CPU"})
        sources.append((parts, key))
    pack_store(sources, spec, path)
    return path


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Path, Path]:
    """Two stores of one spec; their parts are in the work folder."""
    parts = PartStore(tmp_path / "work" / "parts")
    return (
        write_store(tmp_path / "a.zarr", {"one": 8, "two": 4}, parts),
        write_store(tmp_path / "b.zarr", {"three": 6}, parts),
    )


@pytest.fixture
def tagf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `tagf cache` in this process: exit code, standard output, lines of standard error."""
    monkeypatch.setenv("TAGF_WORK_DIR", str(tmp_path / "work"))

    def run(*words: object) -> tuple[int, str, list[str]]:
        monkeypatch.setattr(sys, "argv", ["tagf", "cache", *map(str, words)])
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return (code if isinstance(code, int) else 0), out, err.splitlines()

    return run


def damage(store: Path) -> None:
    shard = store / "audio" / "c" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[8 * 4 + 1] ^= 1
    shard.write_bytes(data)


def test_info(stores: tuple[Path, Path], tagf: Run) -> None:
    code, out, err = tagf("info", *stores)
    assert (code, err) == (0, [])
    for text in (
        str(stores[0]),
        str(stores[1]),
        "12 (4 to 8 per clip",
        "3.0 s",  # 8 and 4 rows at 4 per second
        "100.0% of the rows",
        "1.5 s",  # every other row has sound
        "visual: 3 features, views center",
        SPEC.fingerprint,
        FeatureStore.open(stores[0]).digest,
        "c0de (2 clips)",
        "Fast CPU (1 clips)",
        "audio.anchor: center",
    ):
        assert text in out, text


def test_info_for_scripts(stores: tuple[Path, Path], tagf: Run) -> None:
    code, out, _ = tagf("info", *stores, "--json")
    assert code == 0
    first, second = json.loads(out)
    assert (first["num_clips"], first["num_frames"], first["duration_s"]) == (2, 12, 3.0)
    assert second["digest"] == FeatureStore.open(stores[1]).digest


def test_verify(stores: tuple[Path, Path], tagf: Run) -> None:
    for words in ((), ("--deep",)):
        code, out, err = tagf("verify", *stores, *words)
        assert (code, err) == (0, [])
        assert [line.split(": ")[1].split(" (")[0] for line in out.splitlines()] == ["sound", "sound"]
    damage(stores[1])
    assert tagf("verify", *stores)[0] == 0
    code, out, err = tagf("verify", *stores, "--deep")
    assert code == 1
    assert f"{stores[0]}: sound (every byte" in out
    assert "1 problem (every byte)" in out
    for text in ("audio/c/0/0", "three", "CRC32C"):
        assert text in out
        assert text in err[0]
    assert len(err) == 1
    code, out, err = tagf("verify", *stores, "--deep", "--json")
    sound, damaged = json.loads(out)
    assert (code, len(err), sound["sound"], damaged["sound"]) == (1, 1, True, False)
    assert damaged["problems"][0]["object"] == "audio/c/0/0"


def test_many_problems_are_told_in_part_and_counted(stores: tuple[Path, Path], tagf: Run) -> None:
    for path in stores[0].rglob("*"):
        if path.is_file() and "completion" not in path.parts:
            path.unlink()
    code, out, err = tagf("verify", stores[0])
    count = len(json.loads((stores[0] / "completion" / "zarr.json").read_text())["attributes"]["objects"])
    assert count > 25
    assert code == 1
    assert f"{count} problems (sizes and metadata)" in out
    assert f"... and {count - 20} more; --json lists all" in out
    assert err[0].endswith(f"(and {count - 1} more)")


def test_verify_of_nothing(tmp_path: Path, tagf: Run) -> None:
    code, _, err = tagf("verify", tmp_path / "nowhere.zarr")
    assert code == 1
    assert len(err) == 1
    assert "no feature store there" in err[0]


def test_merge(stores: tuple[Path, Path], tmp_path: Path, tagf: Run) -> None:
    code, out, err = tagf("merge", *stores, "--out", tmp_path / "all.zarr")
    assert (code, err) == (0, [])
    store = FeatureStore.open(tmp_path / "all.zarr")
    assert list(store) == ["one", "two", "three"]
    assert f"3 clips, 18 rows, digest {store.digest}" in out
    code, _, err = tagf("merge", stores[0], stores[0], "--out", tmp_path / "twice.zarr")
    assert (code, len(err)) == (1, 1)
    assert "'one'" in err[0]
    other = FeatureSpec(streams=SPEC.streams, settings={"audio.anchor": "end"})
    write_store(tmp_path / "c.zarr", {"four": 2}, PartStore(tmp_path / "work" / "parts"), other)
    code, _, err = tagf("merge", stores[0], tmp_path / "c.zarr", "--out", tmp_path / "mixed.zarr")
    assert (code, len(err)) == (1, 1)
    assert "audio.anchor: 'center'" in err[0]
    assert not (tmp_path / "mixed.zarr").exists()


@pytest.mark.parametrize("format", ["hdf5", "npy"])
def test_export_and_import(stores: tuple[Path, Path], tmp_path: Path, tagf: Run, format: str) -> None:
    code, out, err = tagf("export", stores[0], "--format", format, "--out", tmp_path / "out")
    assert (code, err) == (0, [])
    assert str(tmp_path / "out") in out
    code, out, err = tagf("import", tmp_path / "out", "--format", format, "--out", tmp_path / "again.zarr")
    assert (code, err) == (0, [])
    assert FeatureStore.open(tmp_path / "again.zarr").digest == FeatureStore.open(stores[0]).digest
    assert "the same as the store that was exported" in out
    code, _, err = tagf("export", stores[0], "--format", format, "--out", tmp_path / "out")
    assert (code, len(err)) == (1, 1)
    assert "expected nothing there" in err[0]


def test_export_to_parquet(stores: tuple[Path, Path], tmp_path: Path, tagf: Run) -> None:
    import pyarrow.parquet as pq

    assert tagf("export", stores[1], "--format", "parquet", "--out", tmp_path / "t.parquet")[0] == 0
    assert pq.read_table(tmp_path / "t.parquet")["clip_id"].to_pylist() == ["three"] * 6


def test_import_of_npy_folders(tmp_path: Path, tagf: Run) -> None:
    for folder, count in (("face", 10), ("sound", 5)):
        (tmp_path / "old" / folder).mkdir(parents=True)
        np.save(tmp_path / "old" / folder / "clip.npy", np.full((count, 2), count, np.float32))
    command = ("import", tmp_path / "old", "--format", "npy", "--out", tmp_path / "s.zarr")
    streams = ("--stream", "visual=face", "--stream", "audio=sound")
    code, _, err = tagf(*command, *streams, "--fps", 25)
    assert (code, len(err)) == (1, 1)
    assert "--rate audio=HZ" in err[0]
    rates = ("--fps", 25, "--rate", "audio=12.5")
    code, out, err = tagf(*command, *streams, *rates, "--origin", "toolkit 1")
    assert (code, err) == (0, [])
    assert "1 clips, 10 rows" in out
    store = FeatureStore.open(tmp_path / "s.zarr")
    assert store.spec.settings["imported.origin"] == "toolkit 1"
    assert store["clip"].audio.tolist() == [[5, 5]] * 10
    np.testing.assert_allclose(store["clip"].time_s, np.arange(10) / 25)


def test_import_of_an_hdf5_file(tmp_path: Path, tagf: Run) -> None:
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["a/face"] = np.ones((3, 2))
        file["a/when"] = [40, 80, 120]
    code, _, err = tagf(
        "import", tmp_path / "old.h5", "--format", "hdf5", "--out", tmp_path / "s.zarr",
        "--dataset", "visual={clip}/face", "--times", "when", "--time-unit", "ms",
    )  # fmt: skip
    assert (code, err) == (0, [])
    np.testing.assert_allclose(FeatureStore.open(tmp_path / "s.zarr")["a"].time_s, [0.04, 0.08, 0.12])


def test_prune_and_restore(stores: tuple[Path, Path], tmp_path: Path, tagf: Run) -> None:
    parts = tmp_path / "work" / "parts"
    before = {path: path.read_bytes() for path in parts.rglob("*.npz")}
    assert len(before) == 3
    code, out, err = tagf("prune-parts", "--packed-in", stores[0], "--dry-run")
    assert (code, err) == (0, [])
    assert SPEC.fingerprint in out
    assert len(list(parts.rglob("*.npz"))) == 3
    code, _, err = tagf("prune-parts", "--packed-in", stores[0])  # nobody to ask
    assert (code, len(err)) == (2, 1)
    assert "--yes" in err[0]
    assert len(list(parts.rglob("*.npz"))) == 3
    code, out, err = tagf("prune-parts", "--packed-in", stores[0], "--yes")
    assert (code, err) == (0, [])
    assert "removed 2 parts" in out
    assert len(list(parts.rglob("*.npz"))) == 1
    code, out, _ = tagf("prune-parts", "--packed-in", stores[0], "--yes")
    assert code == 0
    assert "no part" in out
    code, out, err = tagf("restore-parts", stores[0])
    assert (code, err) == (0, [])
    assert "2 parts restored, 0 were there already" in out
    assert {path: path.read_bytes() for path in parts.rglob("*.npz")} == before
    assert "0 parts restored, 2 were there already" in tagf("restore-parts", stores[0])[1]
    code, _, _ = tagf("restore-parts", stores[1], "--work-dir", tmp_path / "elsewhere")
    assert code == 0
    assert len(list((tmp_path / "elsewhere").rglob("*.npz"))) == 1


def test_who_is_asked_may_say_no(
    stores: tuple[Path, Path], tmp_path: Path, tagf: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["n", "y"])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda prompt: next(answers))
    assert tagf("prune-parts", "--unused-by", stores[0])[0] == 130
    assert len(list(tmp_path.rglob("*.npz"))) == 3
    assert tagf("prune-parts", "--unused-by", stores[0])[0] == 0
    assert len(list(tmp_path.rglob("*.npz"))) == 2


def test_a_damaged_store_prunes_nothing(stores: tuple[Path, Path], tmp_path: Path, tagf: Run) -> None:
    damage(stores[0])
    code, _, err = tagf("prune-parts", "--packed-in", stores[0], "--yes")
    assert (code, len(err)) == (1, 1)
    assert "is not sound" in err[0]
    assert len(list(tmp_path.rglob("*.npz"))) == 3


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("info", "STORE"),
        ("verfy x", "verfy"),
        ("merge x", "--out"),
        ("export x --format csv --out y", "csv"),
        ("import x --format npy --out y", "say where each stream lies"),
        ("import x --format npy --out y --stream visual", "expected NAME=VALUE"),
        ("import x --format npy --out y --stream a=b --stream a=c", "given twice"),
        ("import x --format npy --out y --stream a=b --rate c=1", "no such stream"),
        ("import x --format npy --out y --stream a=b --rate a=fast", "expected a number"),
        ("import x --format npy --out y --stream a=b --rate a=1 --fps 1", "both give the rate"),
        ("import x --format npy --out y --stream a=b --times c=d", "no such stream"),
        ("prune-parts", "no rule says which parts may go"),
        ("prune-parts --older-than -1", "-1"),
    ],
)
def test_wrong_usage(tagf: Run, command: str, named: str) -> None:
    code, _, err = tagf(*command.split())
    assert (code, len(err)) == (2, 1)
    assert named in err[0]


@pytest.mark.parametrize(
    "command", ["info", "verify", "merge", "export", "import", "prune-parts", "restore-parts"]
)
def test_help_has_an_example(tagf: Run, command: str) -> None:
    code, out, _ = tagf(command, "--help")
    assert code == 0
    assert "Example" in out
    assert f"tagf cache {command} " in out


def test_tables_cut_nothing_off(stores: tuple[Path, Path], tmp_path: Path, tagf: Run) -> None:
    shutil.copytree(stores[0], tmp_path / ("x" * 150))
    _, out, _ = tagf("info", tmp_path / ("x" * 150))
    assert "x" * 150 in out
    assert "…" not in out
    assert FeatureStore.open(stores[0]).digest in out
