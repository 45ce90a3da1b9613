"""A store on S3, against a real S3 server of this machine: opened, read, verified, trained from."""

from __future__ import annotations

import json
import multiprocessing
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner

from cache import (
    CacheError,
    ClipFeatures,
    ClipKey,
    CorruptFeatureError,
    FeatureSpec,
    FeatureStore,
    IncompleteStoreError,
    PartStore,
    StreamSpec,
    pack_store,
)
from cache.features import FRAME_ARRAYS
from cache.verify import verify_store
from pipeline.cli import tagf

SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()  # until the tests have ended
"""
SPEC = FeatureSpec(
    streams=(
        StreamSpec(name="visual", num_features=6, views=("center", "flip")),
        StreamSpec(name="audio", num_features=4),
    ),
    settings={"visual.weights": "random:0/1"},
)
SPLITS = {"Train_Set": {"t1": 30, "t2": 21}, "Validation_Set": {"v1": 25}, "Test_Set": {"e1": 18, "e2": 9}}
PARAMS = """\
train:
  head: {name: concat, visual_channels: [4], audio_channels: [4], kernel_size: 3}
  window: 10
  stride: 5
  batch_size: 4
  warmup_epochs: 0
  max_epochs: 2
"""


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    """A server of its own process, on a port that the system chooses; s3fs is told by the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "AWS_PROFILE",
            "AWS_SESSION_TOKEN",
            "FSSPEC_S3_ENDPOINT_URL",
            "HTTP_PROXY",
            "http_proxy",
        ):
            patch.delenv(name, raising=False)
        for name, value in (
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ):
            patch.setenv(name, value)
        with subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            port = int(process.stdout.readline())
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
            yield
            process.stdin.close()


def features_of(num_frames: int, seed: int) -> ClipFeatures:
    noise = np.random.default_rng(seed)
    return ClipFeatures(
        streams={
            "visual": noise.standard_normal((2, num_frames, 6)).astype(np.float16),
            "audio": noise.standard_normal((num_frames, 4)).astype(np.float16),
        },
        time_s=np.arange(num_frames) / 25,
        source_frame=np.arange(num_frames, dtype=np.int64),
        face_found=np.ones(num_frames, bool),
        audio_found=np.ones(num_frames, bool),
        face_box=np.zeros((num_frames, 4), np.float32),
        face_score=np.ones(num_frames, np.float32),
    )


def pack(directory: Path) -> tuple[Path, dict[str, ClipFeatures]]:
    parts, sources, clips = PartStore(directory / "parts"), [], {}
    for split in SPLITS.values():
        for clip, num_frames in split.items():
            key = ClipKey(
                clip_id=clip,
                media_sha256="0" * 64,
                faces_sha256=None,
                selection="",
                fingerprint=SPEC.fingerprint,
            )
            clips[clip] = features_of(num_frames, len(clips))
            parts.commit(key, clips[clip], {"codec": "h264"})
            sources.append((parts, key))
    pack_store(sources, SPEC, directory / "features.zarr", chunk_rows=8, shard_rows=32)
    return directory / "features.zarr", clips


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, ClipFeatures]]:
    return pack(tmp_path_factory.mktemp("local"))


@pytest.fixture
def url(server: None, local: tuple[Path, dict[str, ClipFeatures]], request: pytest.FixtureRequest) -> str:
    """The store, copied up with fsspec into a bucket of the test's own."""
    system = fsspec.filesystem("s3")
    bucket = re.sub("[^a-z0-9]+", "-", request.node.name)[:60].strip("-")
    system.mkdir(bucket)
    system.put(str(local[0]), f"{bucket}/deep/features.zarr", recursive=True)
    return f"s3://{bucket}/deep/features.zarr"


def someone_else() -> Any:
    """A file system that the store under test does not share: its changes are in nobody's cache."""
    return fsspec.filesystem("s3", skip_instance_cache=True)


def test_it_reads_as_the_local_store(url: str, local: tuple[Path, dict[str, ClipFeatures]]) -> None:
    path, clips = local
    store = FeatureStore.open(url)
    assert store.paths == (url,)
    assert store.digest == FeatureStore.open(path).digest
    assert store.clip_ids == tuple(clips)
    loaded = store.load()
    for name in FRAME_ARRAYS:
        wanted = np.concatenate([getattr(clip, name) for clip in clips.values()])
        np.testing.assert_array_equal(getattr(loaded, name), wanted)
    visual = np.concatenate([clip.streams["visual"] for clip in clips.values()], axis=1)
    np.testing.assert_array_equal(loaded.streams["visual"], visual)
    np.testing.assert_array_equal(store.read("visual", slice(40, 60), 1), visual[1, 40:60])
    np.testing.assert_array_equal(store["t2"].window(3, 9).audio, clips["t2"].streams["audio"][3:9])
    assert store["e1"].facts == {"codec": "h264"}
    chosen = store.load(["e2", "t1"], ["audio"])
    np.testing.assert_array_equal(
        chosen.streams["audio"],
        np.concatenate([clips["e2"].streams["audio"], clips["t1"].streams["audio"]]),
    )


def test_it_verifies(url: str) -> None:
    report = verify_store(url, deep=True)
    assert not report.problems
    system = someone_else()
    name = "audio/c/0/0"
    data = bytearray(system.cat_file(f"{url}/{name}"))
    data[5] ^= 4
    system.pipe_file(f"{url}/{name}", bytes(data))
    found = json.dumps([str(problem) for problem in verify_store(url, deep=True).problems])
    assert name in found
    with pytest.raises(CorruptFeatureError, match=f"array audio is damaged in chunk 0 of object {name}"):
        _ = FeatureStore.open(url)["t1"].audio


def test_a_lost_object_is_an_error(url: str) -> None:
    store = FeatureStore.open(url)
    assert store["t1"].audio.any()
    someone_else().rm(f"{url}/visual/c/1/1/0")
    assert store["t1"].audio.any()
    with pytest.raises(IncompleteStoreError, match=f"^{url}: object visual/c/1/1/0 is missing"):
        store.load()
    with pytest.raises(IncompleteStoreError, match=f"^{url}: object visual/c/1/1/0 is missing"):
        FeatureStore.open(url)


def test_a_store_that_is_written_over_is_not_mixed_up(url: str, tmp_path: Path) -> None:
    store = FeatureStore.open(url)
    system = someone_else()
    system.pipe_file(f"{url}/audio/c/1/0", system.cat_file(f"{url}/audio/c/0/0"))  # checksums that fit
    assert store["t1"].window(0, 8).audio.any()
    with pytest.raises(IncompleteStoreError, match=r"audio/c/1/0 was written again while the store was open"):
        store.load()
    record = f"{url}/completion/zarr.json"
    system.pipe_file(record, system.cat_file(record) + b"\n")
    with pytest.raises(IncompleteStoreError, match=f"^{url} was replaced or removed while it was open"):
        store.load()


def test_what_cannot_be_reached(url: str) -> None:
    with pytest.raises(IncompleteStoreError, match=r"^s3://no-such-bucket/x: no feature store there"):
        FeatureStore.open("s3://no-such-bucket/x")
    someone_else().rm(f"{url}/completion/zarr.json")
    with pytest.raises(IncompleteStoreError, match=r"completion/zarr\.json is missing"):
        FeatureStore.open(url)
    options = {
        "anon": False,
        "key": "k",
        "secret": "hunter2",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    with pytest.raises(CacheError, match=r"^s3://b/x cannot be reached: .*; check the address") as caught:
        FeatureStore.open("s3://b/x", storage_options=options | {"endpoint_url": "http://127.0.0.1:1"})
    assert "hunter2" not in str(caught.value)


def _audio_sum(store: FeatureStore, pipe: Any) -> None:
    pipe.send(float(store.load(streams=["audio"]).streams["audio"].astype(np.float64).sum()))
    pipe.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_another_process_reads_it(url: str, local: tuple[Path, dict[str, ClipFeatures]], method: str) -> None:
    store = FeatureStore.open(url)
    _ = store["t1"].audio
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_audio_sum, args=(store, theirs))
    child.start()
    theirs.close()
    found = ours.recv()
    child.join()
    wanted = np.concatenate([clip.streams["audio"] for clip in local[1].values()]).astype(np.float64).sum()
    assert found == wanted


def test_training_and_evaluation_from_it(
    url: str, local: tuple[Path, dict[str, ClipFeatures]], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0)
    for folder, split in SPLITS.items():
        (tmp_path / "annotations" / folder).mkdir(parents=True)
        for clip, num_frames in split.items():
            labels = "".join(f"{v:.3f},{a:.3f}\n" for v, a in noise.uniform(-1, 1, (num_frames, 2)))
            (tmp_path / "annotations" / folder / f"{clip}.txt").write_text(f"valence,arousal\n{labels}")
    (tmp_path / "params.yaml").write_text(PARAMS)

    def tagf_run(run: Path, *features: str) -> None:
        stores = [word for each in features for word in ("--features", each)]
        common = [*stores, "--annotations", str(tmp_path / "annotations"), "--device", "cpu"]
        train = ["train", *common, "--out", str(run), "--params", str(tmp_path / "params.yaml")]
        checkpoint = ["--checkpoint", str(run / "best.safetensors")]
        for command in (train, ["evaluate", *common, *checkpoint, "--out", str(run / "metrics.json")]):
            done = CliRunner().invoke(
                tagf, command, env={"TAGF_WORK_DIR": str(run / "work")}, catch_exceptions=False
            )
            assert done.exit_code == 0

    tagf_run(tmp_path / "remote", url)
    tagf_run(tmp_path / "local", str(local[0]))
    metrics = json.loads((tmp_path / "remote/metrics.json").read_text())
    assert (metrics["num_clips"], metrics["num_frames"]) == (2, 27)
    for name in ("best.safetensors", "metrics.json", "training_log.csv"):
        assert (tmp_path / "remote" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    # The same clips in two stores, one here and one there.
    whole, parts = FeatureStore.open(local[0]), PartStore(local[0].parent / "parts")
    for name, chosen in (("a", whole.clip_ids[:2]), ("b", whole.clip_ids[2:])):
        pack_store([(parts, whole[clip].key) for clip in chosen], SPEC, tmp_path / name)
    someone_else().put(str(tmp_path / "b"), f"{url}-b", recursive=True)
    tagf_run(tmp_path / "both", str(tmp_path / "a"), f"{url}-b")
    both, log = tmp_path / "both", "training_log.csv"
    assert (both / log).read_bytes() == (tmp_path / "local" / log).read_bytes()
    # Their checkpoints say which stores they were trained on, and so differ.
    found = json.loads((both / "metrics.json").read_text())
    assert found | {"checkpoints_sha256": metrics["checkpoints_sha256"]} == metrics
