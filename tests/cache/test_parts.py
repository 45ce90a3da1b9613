"""Parts: one file each, whole, the same bytes for the same features, and damage never goes unseen."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cache import (
    ClipFeatures,
    ClipKey,
    CorruptFeatureError,
    FeatureSpec,
    PartStore,
    StorageError,
    UnknownClipError,
)
from cache.features import FRAME_ARRAYS

ROOT = Path(__file__).parents[2]
FACTS = {"codec": "h264", "width": 640, "machine": "cpu / x86_64", "nested": {"a": [1, 2.5, None, True]}}


def arrays_of(features: ClipFeatures) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    arrays = {name: getattr(features, name) for name in FRAME_ARRAYS} | dict(features.streams)
    return {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()}


def test_digest_of_a_key_is_that_of_its_canonical_json() -> None:
    key = ClipKey(
        clip_id="v1é",
        media_sha256="0" * 64,
        faces_sha256=None,
        selection="left",
        fingerprint="0123456789abcdef",
    )
    text = (
        '{"clip_id":"v1\\u00e9","faces_sha256":null,"fingerprint":"0123456789abcdef",'
        '"media_sha256":"' + "0" * 64 + '","selection":"left"}'
    )
    assert key.digest == hashlib.sha256(text.encode("ascii")).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"clip_id": "v2"},
        {"media_sha256": "cd" * 32},
        {"faces_sha256": "ab" * 32},
        {"selection": "left"},
        {"fingerprint": "f" * 16},
    ],
)
def test_every_field_of_a_key_is_in_its_digest(
    make_key: Callable[..., ClipKey], change: dict[str, str]
) -> None:
    key = make_key("v1")
    assert replace(key, **change).digest != key.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip_id": ""}, "clip_id must not be empty"),
        ({"clip_id": "\udcff"}, "clip_id must be valid Unicode"),
        ({"media_sha256": "AB" * 32}, "media_sha256 must be 64 hexadecimal digits"),
        ({"media_sha256": "ab"}, "media_sha256 must be 64 hexadecimal digits"),
        ({"faces_sha256": ""}, "faces_sha256 must be 64 hexadecimal digits"),
        ({"fingerprint": "../../etc/passwd"}, "fingerprint must be 16 hexadecimal digits"),
    ],
)
def test_impossible_keys(make_key: Callable[..., ClipKey], change: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(make_key("v1"), **change)


@pytest.mark.parametrize("num_frames", [0, 1, 9])
def test_what_was_committed_is_read(
    tmp_path: Path, make_features: Any, make_key: Any, num_frames: int
) -> None:
    parts, key, features = PartStore(tmp_path), make_key("v1"), make_features(num_frames)
    assert key not in parts
    path = parts.commit(key, features, FACTS)
    assert key in parts
    part = parts.read(key)
    assert arrays_of(part.features) == arrays_of(features)
    assert (part.key, part.facts, parts.facts(key)) == (key, FACTS, FACTS)
    with parts.open(key) as opened:
        assert opened.num_frames == num_frames
    assert path == parts.path(key) == tmp_path / key.fingerprint / f"{key.digest}.npz"


def test_a_part_is_a_plain_npz(tmp_path: Path, make_features: Any, make_key: Any) -> None:
    features = make_features(5)
    path = PartStore(tmp_path).commit(make_key("v1"), features, FACTS)
    with np.load(path, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["streams/visual"], features.streams["visual"])
        np.testing.assert_array_equal(archive["time_s"], features.time_s)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        infos = archive.infolist()
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
    assert [info.filename for info in infos[:2]] == ["key.json", "facts.json"]


def test_equal_features_give_equal_bytes(tmp_path: Path, make_features: Any, make_key: Any) -> None:
    features = make_features(5)
    backwards = ClipFeatures(
        streams=dict(reversed(features.streams.items())),
        # the same values in another memory order
        **{name: np.asfortranarray(getattr(features, name)) for name in FRAME_ARRAYS},
    )
    paths = [
        PartStore(tmp_path / "a").commit(make_key("v1"), features, FACTS),
        PartStore(tmp_path / "b").commit(make_key("v1"), backwards, dict(reversed(FACTS.items()))),
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    "clip_id", ["../../up", "/etc/passwd", "a/b\\c", "nul\0", "con", "x" * 4000, "ünï 🎬"]
)
def test_clip_ids_never_become_paths(tmp_path: Path, make_features: Any, make_key: Any, clip_id: str) -> None:
    parts = PartStore(tmp_path / "work")
    parts.commit(make_key(clip_id), make_features(2), {})
    assert parts.read(make_key(clip_id)).key.clip_id == clip_id
    assert [path.name for path in tmp_path.rglob("*.npz")] == [f"{make_key(clip_id).digest}.npz"]
    assert os.listdir(tmp_path) == ["work"]


def test_a_second_commit_replaces_the_first(tmp_path: Path, make_features: Any, make_key: Any) -> None:
    parts = PartStore(tmp_path)
    path = parts.commit(make_key("v1"), make_features(5), {"run": 1})
    first = path.read_bytes()
    parts.commit(make_key("v1"), make_features(5), {"run": 1})
    assert path.read_bytes() == first
    parts.commit(make_key("v1"), make_features(3), {"run": 2})
    assert len(parts.read(make_key("v1")).features.time_s) == 3
    assert len(os.listdir(path.parent)) == 1


def test_facts_have_to_be_json(tmp_path: Path, make_features: Any, make_key: Any) -> None:
    for facts in ({"path": Path()}, {"share": float("nan")}):
        with pytest.raises(ValueError, match=r"expected JSON|not JSON compliant"):
            PartStore(tmp_path).commit(make_key("v1"), make_features(1), facts)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_discarded_and_unknown_parts(tmp_path: Path, make_features: Any, make_key: Any) -> None:
    parts, key = PartStore(tmp_path), make_key("v1")
    parts.commit(key, make_features(2), {})
    parts.discard(key)
    parts.discard(key)
    for read in (parts.read, parts.facts):
        with pytest.raises(UnknownClipError, match=r"clip 'v1' has no part at .*; extract it first"):
            read(key)


def test_the_key_inside_has_to_be_the_one_asked_for(
    tmp_path: Path, make_features: Any, make_key: Any
) -> None:
    parts = PartStore(tmp_path)
    source = parts.commit(make_key("v1"), make_features(2), {})
    other = make_key("v2", selection="left")
    source.rename(parts.path(other))
    for read in (parts.read, parts.facts):
        with pytest.raises(CorruptFeatureError, match="another key, which differs in clip_id, selection"):
            read(other)


def test_no_flipped_bit_goes_unseen(tmp_path: Path, make_features: Any, make_key: Any) -> None:
    parts, key, features = PartStore(tmp_path), make_key("v1"), make_features(3)
    path = parts.commit(key, features, FACTS)
    good = path.read_bytes()
    noise = random.Random(5)
    messages = []
    # some anywhere, and each byte of zip's own list of members, which no checksum covers
    for place in [*noise.sample(range(len(good)), 200), *range(good.index(b"PK\1\2"), len(good))]:
        path.write_bytes(good[:place] + bytes([good[place] ^ (1 << noise.randrange(8))]) + good[place + 1 :])
        try:
            part = parts.read(key)
        except CorruptFeatureError as error:
            messages.append(str(error))
        else:  # a date, an attribute: nothing that was read
            assert arrays_of(part.features) == arrays_of(features)
            assert part.facts == FACTS
    assert len(messages) > 300
    assert all("clip 'v1'" in text and "extract the clip again" in text for text in messages)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_cut_file_is_damaged(tmp_path: Path, make_features: Any, make_key: Any, share: float) -> None:
    parts, key = PartStore(tmp_path), make_key("v1")
    path = parts.commit(key, make_features(3), {})
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    for read in (parts.read, parts.facts):
        with pytest.raises(CorruptFeatureError, match="is damaged"):
            read(key)


def test_errors_of_the_system_are_no_damage(tmp_path: Path, make_features: Any, make_key: Any) -> None:
    parts, key = PartStore(tmp_path), make_key("v1")
    parts.path(key).mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        parts.read(key)


def test_a_full_disk_is_named_and_leaves_nothing(
    tmp_path: Path, make_features: Any, make_key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    parts, key = PartStore(tmp_path), make_key("v1")
    old = parts.commit(key, make_features(2), {}).read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        StorageError, match=r"the part of clip 'v1' into .*: No space left on device; free space"
    ):
        parts.commit(key, make_features(3), {})
    assert parts.path(key).read_bytes() == old
    assert len(os.listdir(parts.path(key).parent)) == 1


def test_a_work_directory_that_cannot_be_made(tmp_path: Path, make_features: Any, make_key: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write the part of clip 'v1'"):
        PartStore(tmp_path / "file" / "parts").commit(make_key("v1"), make_features(1), {})


def test_old_leftovers_go_with_the_first_commit(tmp_path: Path, make_features: Any, make_key: Any) -> None:
    directory = tmp_path / make_key("v1").fingerprint
    directory.mkdir()
    leftover = directory / f".{make_key('v1').digest}.npz.00.tmp"
    leftover.write_bytes(b"half a part")
    parts = PartStore(tmp_path)
    assert make_key("v1") not in parts
    os.utime(leftover, (1e9, 1e9))
    parts.commit(make_key("v2"), make_features(1), {})
    assert not leftover.exists()


COMMITTER = """
import sys
from pathlib import Path
import numpy as np
from cache import ClipFeatures, ClipKey, PartStore
seed, work = int(sys.argv[1]), Path(sys.argv[2])
for index in range(30):
    n = 40 + seed
    features = ClipFeatures(
        streams={"audio": np.full((n, 8), seed, np.float16)}, time_s=np.arange(n, dtype=np.float64),
        source_frame=np.arange(n), face_found=np.ones(n, bool), audio_found=np.ones(n, bool),
        face_box=np.zeros((n, 4), np.float32), face_score=np.zeros(n, np.float32))
    key = ClipKey(clip_id=f"v{index % 3}", media_sha256="ab" * 32, faces_sha256=None, selection="",
                  fingerprint="0123456789abcdef")
    PartStore(work).commit(key, features, {"seed": seed})
    part = PartStore(work).read(key)
    assert (part.features.streams["audio"] == part.facts["seed"]).all()
    assert part.features.num_frames == 40 + part.facts["seed"]
"""


def test_processes_commit_the_same_clips_at_once(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", COMMITTER, str(seed), str(tmp_path)], cwd=ROOT)
        for seed in range(3)
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(list(tmp_path.rglob("*.npz"))) == 3
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 3


def test_specs_lie_beside_their_parts(tmp_path: Path, spec: FeatureSpec) -> None:
    parts = PartStore(tmp_path)
    assert parts.read_spec(spec.fingerprint) is None
    parts.write_spec(spec)
    parts.write_spec(spec)
    assert parts.read_spec(spec.fingerprint) == spec
