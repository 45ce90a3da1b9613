"""`tagf cache`: what it prints, what it leaves, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from cache import ClipFeatures, ClipKey, FeatureSpec, FeatureStore, PartStore, StreamSpec, pack_store
from pipeline.cli import main
from pipeline.run.work_dir import WorkDir

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
        "Fast CPU (1 clip)",
        "1.5 s, 50.0% of the rows",
        "audio.anchor  center",
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
    assert tagf("prune-parts", "--keep-used-by", stores[0])[0] == 130
    assert len(list(tmp_path.rglob("*.npz"))) == 3
    assert tagf("prune-parts", "--keep-used-by", stores[0])[0] == 0
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
        ("import . --format npy --out y", "say where each stream lies"),
        ("import . --format hdf5 --out y --fps 25", "no stream is named"),
        ("import x --format npy --out y --stream visual", "for example --stream visual=face"),
        ("import x --format npy --out y --stream a=b --fps 0", "--fps"),
        ("import x --format npy --out y --stream a=b --fps nan", "not a finite number"),
        ("import x --format npy --out y --stream a=b --rate a=-3", "above 0"),
        ("import x --format npy --out y --stream a=b --rate a=inf", "above 0"),
        ("import x --format npy --out y --stream a=b --origin=", "--origin is empty"),
        ("import x --format npy --out y --stream a=b --time-unit h", "expected one of s, ms, frames"),
        ("import x --format npy --out y --stream a=b --time-unit c=s", "no such stream"),
        ("import x --format npy --out y --stream a=b --time-unit s --time-unit ms", "given twice"),
        ("import s3://b/x --format npy --out y --stream a=b", "copy it here first"),
        ("import x --format npy --out s3://b/y --stream a=b", "write it here and copy it there"),
        ("merge a b --out s3://bucket/y.zarr", "write it here and copy it there"),
        ("export a --format npy --out file:///y", "write it here and copy it there"),
        ("import x --format npy --out y --stream a=b --stream a=c", "given twice"),
        ("import x --format npy --out y --stream a=b --rate c=1", "no such stream"),
        ("import x --format npy --out y --stream a=b --rate a=fast", "expected a number"),
        ("import x --format npy --out y --stream a=b --rate a=1 --fps 1", "both give the rate"),
        ("import x --format npy --out y --stream a=b --times c=d", "no such stream"),
        ("prune-parts", "no rule says which parts may go"),
        ("prune-parts --older-than -1", "-1"),
        ("prune-parts --older-than nan", "not a finite number"),
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


def test_what_lies_at_out_is_replaced_only_if_told_so(
    stores: tuple[Path, Path], tmp_path: Path, tagf: Run
) -> None:
    assert tagf("export", stores[0], "--format", "npy", "--out", tmp_path / "out")[0] == 0
    before = FeatureStore.open(stores[1]).digest
    for command in (("merge", stores[0]), ("import", tmp_path / "out", "--format", "npy")):
        code, _, err = tagf(*command, "--out", stores[1])
        assert (code, len(err)) == (1, 1)
        assert "add --replace" in err[0]
        assert FeatureStore.open(stores[1]).digest == before
    for command in (("merge", stores[0]), ("import", tmp_path / "out", "--format", "npy")):
        code, _, err = tagf(*command, "--out", stores[1], "--replace")
        assert (code, err) == (0, [])
        assert FeatureStore.open(stores[1]).digest == FeatureStore.open(stores[0]).digest
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "x.txt").touch()
    assert tagf("merge", stores[0], "--out", tmp_path / "thesis", "--replace")[0] == 1


def test_nothing_is_written_into_a_store(stores: tuple[Path, Path], tmp_path: Path, tagf: Run) -> None:
    for command in (("merge",), ("export", "--format", "npy"), ("export", "--format", "hdf5")):
        code, _, err = tagf(*command, stores[0], "--out", stores[1] / "deep" / "new")
        assert (code, len(err)) == (1, 1)
        assert f"lies inside the store {stores[1]}" in err[0]
    assert tagf("verify", stores[1])[0] == 0


def test_a_store_that_cannot_be_reached_hides_no_other(
    stores: tuple[Path, Path], tmp_path: Path, tagf: Run
) -> None:
    unreachable = "nosuch://bucket/x.zarr"
    for command in (("info",), ("verify",), ("verify", "--deep")):
        code, out, err = tagf(*command, stores[0], unreachable, stores[1])
        assert (code, len(err)) == (1, 1)
        assert unreachable in err[0]
        assert str(stores[0]) in out
        assert str(stores[1]) in out
        code, out, err = tagf(*command, unreachable, stores[1], "--json")
        assert (code, len(err)) == (1, 1)
        bad, good = json.loads(out)
        assert bad["store"] == unreachable
        assert good["num_clips"] == 1


def test_sources_that_need_another_command(stores: tuple[Path, Path], tmp_path: Path, tagf: Run) -> None:
    for format in ("hdf5", "npy", "parquet"):
        assert tagf("export", stores[0], "--format", format, "--out", tmp_path / format)[0] == 0
    (tmp_path / "cut.h5").write_bytes((tmp_path / "hdf5").read_bytes()[:3000])
    (tmp_path / "text.h5").write_text("no HDF5")
    for source, words, code, named in (
        ("nosuch.h5", "--format hdf5", 1, "nosuch.h5: no such file"),
        ("nosuch.h5", "--format hdf5 --stream visual=x", 1, "nosuch.h5: no such file"),
        ("cut.h5", "--format hdf5", 1, "cut.h5: cannot be read"),
        ("text.h5", "--format hdf5", 1, "text.h5: cannot be read"),
        ("hdf5", "--format npy", 2, "an export in hdf5; say --format hdf5"),
        ("npy", "--format hdf5", 2, "an export in npy; say --format npy"),
        ("npy", "--format npy --origin x --stream a=b", 2, "takes no --stream, --origin"),
        ("parquet", "--format hdf5", 1, "is a Parquet file"),
        ("a.zarr", "--format npy", 1, "is a feature store already"),
    ):
        found, _, err = tagf("import", tmp_path / source, *words.split(), "--out", tmp_path / "new.zarr")
        assert (found, len(err)) == (code, 1), err
        assert named in err[0]
        assert not (tmp_path / "new.zarr").exists()


def test_imports_that_say_different_things_of_themselves(tmp_path: Path, tagf: Run) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / f"{name}.npy", np.full((4, 2), ord(name), np.float32))
        words = ("--format", "npy", "--stream", "visual=.", "--fps", 4, "--out", tmp_path / f"{name}.zarr")
        code, out, _ = tagf("import", tmp_path / name, *words)
        assert code == 0
        assert out.splitlines()[1].endswith("face on 100.0% of rows, 1.0 s")
    code, _, err = tagf("merge", tmp_path / "a.zarr", tmp_path / "b.zarr", "--out", tmp_path / "c.zarr")
    assert (code, len(err)) == (1, 1)
    assert "with one --origin" in err[0]
    code, _, err = tagf("restore-parts", tmp_path / "a.zarr")
    assert (code, len(err)) == (1, 1)
    assert "there is nothing to extract" in err[0]
    assert not list((tmp_path / "work").rglob("*.json"))


def test_a_unit_for_each_stream(tmp_path: Path, tagf: Run) -> None:
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["a/face"], file["a/sound"] = np.ones((3, 2)), np.ones((3, 2))
        file["a/s"], file["a/ms"] = [0.0, 0.1, 0.2], [0, 100, 1000]
    code, out, err = tagf(
        "import", tmp_path / "old.h5", "--format", "hdf5", "--out", tmp_path / "s.zarr",
        "--dataset", "visual={clip}/face", "--dataset", "audio={clip}/sound", "--times", "visual={clip}/s",
        "--times", "audio={clip}/ms", "--time-unit", "audio=ms", "--time-unit", "s",
    )  # fmt: skip
    assert (code, err) == (0, [])
    assert "face on 100.0%, sound on 100.0% of rows, 0.3 s" in out


def test_no_part_goes_while_a_run_counts_on_it(stores: tuple[Path, Path], tmp_path: Path, tagf: Run) -> None:
    work = WorkDir(tmp_path / "work")
    with work.parts_in_use.by_run("tagf extract --out x.zarr"):
        code, _, err = tagf("prune-parts", "--packed-in", stores[0], "--yes")
        assert (code, len(err)) == (1, 1)
        assert "tagf extract --out x.zarr" in err[0]
        assert tagf("prune-parts", "--packed-in", stores[0], "--dry-run")[0] == 0
    assert len(list(tmp_path.rglob("*.npz"))) == 3
    assert tagf("prune-parts", "--packed-in", stores[0], "--yes")[0] == 0
    assert len(list(tmp_path.rglob("*.npz"))) == 1


def test_parts_are_listed_with_what_made_them(tmp_path: Path, tagf: Run) -> None:
    parts = PartStore(tmp_path / "work" / "parts")
    settings = {"visual.backbone": "ir50", "audio.backbone": "vggish"}
    spec = FeatureSpec(streams=SPEC.streams, settings=settings)
    write_store(tmp_path / "a.zarr", {"one": 8}, parts, spec)
    parts.write_spec(spec)
    write_store(tmp_path / "b.zarr", {"two": 8}, parts)
    for path in parts.directory.rglob("*.npz"):
        os.utime(path, (0, time.mktime((2020, 5, 17, 12, 0, 0, 0, 0, -1))))
    _, out, _ = tagf("prune-parts", "--older-than", 1, "--dry-run")
    by_fingerprint = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "ir50, vggish   2020-05-17   1 " in by_fingerprint[spec.fingerprint]
    assert "unknown" in by_fingerprint[SPEC.fingerprint]


def test_an_interrupt_promises_nothing(
    stores: tuple[Path, Path], tmp_path: Path, tagf: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cache.store_info.store_info", interrupt)
    code, _, err = tagf("info", stores[0])
    assert (code, [line for line in err if line]) == (130, ["tagf: interrupted"])  # ^C ends its own line
    monkeypatch.setattr("cache.restored_parts.restore_parts", interrupt)
    code, _, err = tagf("restore-parts", stores[0])
    assert code == 130
    assert "finished work is kept" in err[-1]


def test_no_line_ends_in_blanks_and_digests_are_whole(
    stores: tuple[Path, Path], tmp_path: Path, tagf: Run
) -> None:
    damage(stores[0])
    for command in (("info", stores[0]), ("verify", "--deep", stores[0])):
        _, out, _ = tagf(*command)
        assert all(line == line.rstrip() for line in out.splitlines())
    _, out, _ = tagf("info", stores[0])
    assert out.index("digest") < out.index("settings") < out.index("chunks")


def test_short_helps_fit_a_narrow_screen(tagf: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = tagf("--help")
    assert code == 0
    assert "..." not in out.partition("Commands:")[2]


def test_tables_cut_nothing_off(stores: tuple[Path, Path], tmp_path: Path, tagf: Run) -> None:
    shutil.copytree(stores[0], tmp_path / ("x" * 150))
    _, out, _ = tagf("info", tmp_path / ("x" * 150))
    assert "x" * 150 in out
    assert "…" not in out
    assert FeatureStore.open(stores[0]).digest in out
