"""Rows on a device and rows in the store's files: the same batches, and those that a plain loop makes."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cache import ClipKey, CorruptFeatureError, FeaturesSource, FeatureStore, write_store
from tagf_head.annotations import load_annotations
from tagf_head.data.device_rows import DeviceRows
from tagf_head.data.mapped_rows import MappedRows
from tagf_head.data.rows import Batch
from tagf_head.data.split_data import SplitData, load_split
from tagf_head.data.windows import WindowPlan, plan_windows

WINDOW, STRIDE = 20, 12
STREAMS = ("visual", "audio")
FIELDS = (*STREAMS, "frame_mask", "label", "label_mask")
KINDS = {"device": (None, DeviceRows), "mapped": (0, MappedRows)}


@pytest.fixture(scope="module")
def stores(corpus, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The corpus as two stores of many small chunks, its training clips not all together."""
    spec, folder = FeatureStore.open(corpus.store).spec, tmp_path_factory.mktemp("stores")
    first = ("v1", "t1", "t2", "e1")
    second = ("t3_left", "v2", "t3_right", *(set(corpus.clips) - {*first, "t3_left", "v2", "t3_right"}))
    for name, clip_ids in (("a", first), ("b", second)):
        keys = [
            ClipKey(
                clip_id=clip_id,
                media_sha256=f"{number:064x}",
                faces_sha256=None,
                selection="",
                fingerprint=spec.fingerprint,
            )
            for number, clip_id in enumerate(clip_ids)
        ]
        sources = (FeaturesSource(key, corpus.clips[key.clip_id], {}) for key in keys)
        write_store(sources, spec, folder / name, chunk_rows=4, shard_rows=16)
    return [folder / "a", folder / "b"]


def load(stores: list[Path], corpus, limit_gb: float | None, *, memory_map: bool = True) -> SplitData:
    store = FeatureStore.open(stores, memory_map=memory_map)
    return load_split(store, load_annotations(corpus.annotations), "train", rows_memory_gb=limit_gb)


@pytest.fixture(scope="module")
def splits(corpus, stores: list[Path]) -> dict[str, SplitData]:
    """The training split, by where its rows are."""
    return {kind: load(stores, corpus, limit) for kind, (limit, _) in KINDS.items()}


@pytest.fixture(scope="module", params=KINDS)
def train(request: pytest.FixtureRequest, splits: dict[str, SplitData]) -> SplitData:
    data = splits[request.param]
    assert type(data.rows) is KINDS[request.param][1]
    return data


def window_by_loop(corpus, clip_id: str, start: int, view: int, shift: int = 0) -> dict[str, np.ndarray]:
    """One window, frame by frame."""
    clip, labels = corpus.clips[clip_id], corpus.labels[clip_id]
    window = {
        "visual": np.zeros((WINDOW, 16), np.float16),
        "audio": np.zeros((WINDOW, 8), np.float16),
        "frame_mask": np.zeros(WINDOW, bool),
        "label": np.zeros((WINDOW, 2), np.float32),
        "label_mask": np.zeros(WINDOW, bool),
    }
    for offset in range(WINDOW):
        frame = start + offset
        if frame < clip.num_frames:
            window["visual"][offset] = clip.streams["visual"][view, frame]
            if 0 <= frame + shift < clip.num_frames:
                window["audio"][offset] = clip.streams["audio"][frame + shift]
            window["frame_mask"][offset] = True
            if -5 not in labels[frame]:
                window["label"][offset] = labels[frame]
                window["label_mask"][offset] = True
    return window


def joined(batches: Iterator[Batch]) -> dict[str, np.ndarray]:
    found = list(batches)
    return {name: torch.cat([getattr(batch, name) for batch in found]).numpy() for name in FIELDS}


def test_batches_equal_a_loop_over_frames(corpus, train: SplitData) -> None:
    plan = plan_windows(train.row_size, WINDOW, STRIDE)
    generator = torch.Generator().manual_seed(3)
    order = torch.randperm(len(plan), generator=generator)
    view = torch.randint(2, (len(plan),), generator=generator)
    shift = torch.randint(-15, 16, (len(plan),), generator=generator)
    assert set(view.tolist()) == {0, 1}
    batches = list(train.rows.batches(plan, 5, order=order, view=view, audio_shift=shift))
    assert [len(batch.audio) for batch in batches] == [5] * (len(plan) // 5) + [len(plan) % 5]
    found = joined(iter(batches))
    for place, index in enumerate(order.tolist()):
        clip_id = train.clip_ids[plan.clip[index]]
        expected = window_by_loop(
            corpus, clip_id, int(plan.start[index]), int(view[index]), int(shift[index])
        )
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name][place], values, err_msg=f"{clip_id} {name}")
            assert found[name].dtype == values.dtype


@st.composite
def requests(draw: st.DrawFn) -> dict[str, object]:
    """What `batches` can be asked for, over clips of 50, 33, 7 and 41 rows."""
    window = draw(st.integers(1, 60))
    plan = plan_windows(np.array([50, 33, 7, 41]), window, draw(st.integers(max(window // 8, 1), window)))
    num_windows = len(plan)

    def per_window(low: int, high: int) -> st.SearchStrategy[torch.Tensor | None]:
        return st.none() | st.lists(st.integers(low, high), min_size=num_windows, max_size=num_windows).map(
            torch.tensor
        )

    order = st.none() | st.lists(st.integers(0, num_windows - 1), max_size=20).map(
        lambda windows: torch.tensor(windows, dtype=torch.int64)
    )
    return {
        "plan": plan,
        "batch_size": draw(st.integers(1, 9)),
        "order": draw(order),
        "view": draw(per_window(0, 1)),
        "audio_shift": draw(per_window(-60, 60)),
    }


@given(requests())
def test_both_kinds_give_the_same_bits(splits: dict[str, SplitData], request_: dict[str, object]) -> None:
    one, other = (list(splits[kind].rows.batches(**request_)) for kind in KINDS)
    assert len(one) == len(other)
    for first, second in zip(one, other, strict=True):
        for name in FIELDS:
            mine, theirs = getattr(first, name), getattr(second, name)
            assert mine.dtype == theirs.dtype
            assert mine.shape == theirs.shape
            assert mine.numpy().tobytes() == theirs.numpy().tobytes(), name


def test_evaluation_reads_the_center_view_in_the_plans_order(corpus, train: SplitData) -> None:
    plan = plan_windows(train.row_size, WINDOW, STRIDE)
    batch = next(train.rows.batches(plan, len(plan)))
    for index in range(len(plan)):
        expected = window_by_loop(corpus, train.clip_ids[plan.clip[index]], int(plan.start[index]), 0)
        np.testing.assert_array_equal(batch.visual[index].numpy(), expected["visual"])


def test_a_pass_without_windows_has_no_batch(train: SplitData) -> None:
    plan = plan_windows(train.row_size, WINDOW, STRIDE)
    assert not list(train.rows.batches(plan, 3, order=torch.arange(0)))


def test_windows_without_labels_are_found(train: SplitData) -> None:
    plan = WindowPlan(
        clip=np.array([0, 0, 1, 2, 3]),
        start=np.array([3, 3, 3, 3, 39]),
        length=np.array([1, 2, 1, 4, 2]),
        window=4,
    )
    assert train.rows.labelled(plan).tolist() == [False, True, False, True, True]


def test_sizes(train: SplitData) -> None:
    assert (train.rows.num_rows, train.rows.num_views) == (131, 2)
    assert train.rows.row_start.tolist() == [0, 50, 83, 90]


def test_a_batch_is_the_consumers_own(train: SplitData) -> None:
    plan = plan_windows(train.row_size, WINDOW, STRIDE)
    kept = list(train.rows.batches(plan, 3))
    copies = [batch.visual.clone() for batch in kept]
    for batch in train.rows.batches(plan, 3):
        batch.visual.fill_(7)
        batch.label.fill_(7)
    assert all(torch.equal(batch.visual, copy) for batch, copy in zip(kept, copies, strict=True))
    again = list(train.rows.batches(plan, 3))
    assert all(torch.equal(batch.visual, copy) for batch, copy in zip(again, copies, strict=True))


def test_rows_are_read_block_by_block(
    corpus, stores: list[Path], splits: dict[str, SplitData], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tagf_head.data.device_rows._BLOCK_ROWS", 7)
    rows, whole = load(stores, corpus, None).rows, splits["device"].rows
    assert isinstance(rows, DeviceRows)
    assert isinstance(whole, DeviceRows)
    assert torch.equal(rows.visual, whole.visual)
    assert torch.equal(rows.audio, whole.audio)


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_that_cannot_be_mapped_gives_the_same(
    corpus, stores: list[Path], splits: dict[str, SplitData], kind: str
) -> None:
    data = load(stores, corpus, KINDS[kind][0], memory_map=False)
    plan = plan_windows(data.row_size, 40, 40)
    found, expected = (joined(each.rows.batches(plan, 4)) for each in (data, splits["device"]))
    for name in FIELDS:
        np.testing.assert_array_equal(found[name], expected[name])


def mapped_kb(folder: Path) -> int:
    """Memory that mapped files of streams below a folder take of this process."""
    total, is_counted = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if not line[0].isupper():  # a mapping's addresses and file, before lines like "Rss: 4 kB"
            is_counted = str(folder) in line and any(f"/{stream}/" in line for stream in STREAMS)
        elif is_counted and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


@pytest.mark.parametrize("kind", KINDS)
def test_the_stores_mapped_files_take_no_memory(corpus, stores: list[Path], kind: str) -> None:
    store = FeatureStore.open(stores)
    data = load_split(store, load_annotations(corpus.annotations), "train", rows_memory_gb=KINDS[kind][0])
    plan = plan_windows(data.row_size, WINDOW, STRIDE)
    assert len(list(data.rows.batches(plan, 4))) == -(-len(plan) // 4)
    assert mapped_kb(stores[0].parent) == 0
    store.read("audio", slice(0, 9))  # the files are still mapped
    assert mapped_kb(stores[0].parent) > 0


def test_no_more_than_the_next_batch_is_read_ahead(
    splits: dict[str, SplitData], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = splits["mapped"].rows
    num_read, read = [0], MappedRows._read

    def counted(self: MappedRows, *arguments: Any) -> Any:
        num_read[0] += 1
        return read(self, *arguments)

    monkeypatch.setattr(MappedRows, "_read", counted)
    plan = plan_windows(splits["mapped"].row_size, WINDOW, STRIDE)
    batches = rows.batches(plan, 2)
    assert num_read == [0]
    next(batches)
    next(batches)
    batches.close()
    assert num_read == [3]
    assert not [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name]


def test_damage_that_is_met_while_training_is_an_error(corpus, tmp_path: Path) -> None:
    path = tmp_path / "features.zarr"
    shutil.copytree(corpus.store, path)
    data = load([path], corpus, 0)
    shard = path / "audio" / "c" / "0" / "0"
    stamp = shard.stat()
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    os.utime(shard, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises(CorruptFeatureError, match="array audio is damaged"):
        list(data.rows.batches(plan_windows(data.row_size, WINDOW, STRIDE), 4))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_batches_on_a_gpu(corpus, stores: list[Path], splits: dict[str, SplitData], kind: str) -> None:
    annotations = load_annotations(corpus.annotations)
    store, limit = FeatureStore.open(stores), KINDS[kind][0]
    data = load_split(store, annotations, "train", device="cuda", rows_memory_gb=limit)
    plan = plan_windows(data.row_size, WINDOW, STRIDE)
    shift = torch.arange(len(plan)) - 5
    found = list(data.rows.batches(plan, 3, audio_shift=shift))
    assert all(batch.visual.is_cuda for batch in found)
    wanted = splits["device"].rows.batches(plan, 3, audio_shift=shift)
    for batch, expected in zip(found, wanted, strict=True):
        for name in FIELDS:
            assert torch.equal(getattr(batch, name).cpu(), getattr(expected, name))
