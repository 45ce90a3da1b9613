"""The completion record against sizes and digests taken by hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from cache import CorruptFeatureError, IncompleteStoreError, StoreFormatError
from cache.layout import FORMAT_VERSION
from cache.location import RECORD_PATH, location_of
from cache.record import CompletionRecord, StoredObject

FILES = {"zarr.json": b"{}", "audio/c/0/0": b"rows", "audio/zarr.json": b""}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "s" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    objects = {
        name: StoredObject(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in FILES.items()
    }
    CompletionRecord(fingerprint="ab", num_clips=2, num_frames=7, objects=objects).write(tmp_path / "s")
    return tmp_path / "s"


def attributes(store: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((store / RECORD_PATH).read_text())["attributes"]
    return content


def test_every_object_is_listed_with_its_size_and_digest(store: Path) -> None:
    assert attributes(store)["objects"] == {
        name: {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in FILES.items()
    }
    record = CompletionRecord.read(store)
    assert (record.fingerprint, record.num_clips, record.num_frames) == ("ab", 2, 7)
    record.check_sizes(store)
    for name, data in FILES.items():
        record.check_content(store, name, data)


def test_digest_is_that_of_the_rest_of_the_record(store: Path) -> None:
    content = attributes(store)
    digest = content.pop("digest")
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert digest == hashlib.sha256(text.encode()).hexdigest() == CompletionRecord.read(store).digest


@pytest.mark.parametrize("name", FILES)
def test_a_missing_object(store: Path, name: str) -> None:
    record = CompletionRecord.read(store)
    (store / name).unlink()
    with pytest.raises(IncompleteStoreError, match=f"object {name} is missing; restore it"):
        record.check_sizes(store)


def test_another_size(store: Path) -> None:
    (store / "audio/c/0/0").write_bytes(b"row")
    with pytest.raises(CorruptFeatureError, match="object audio/c/0/0 has 3 bytes, expected 4; restore it"):
        CompletionRecord.read(store).check_sizes(store)


def test_a_place_does_for_a_path(store: Path) -> None:
    location = location_of(f"file://{store}")
    record = CompletionRecord.read(location)
    record.check_sizes(location)
    record.check_content(location, "zarr.json", b"{}")
    with pytest.raises(CorruptFeatureError, match=r"object zarr\.json is not what was written"):
        record.check_content(location, "zarr.json", b"[]")


def test_sizes_that_are_known_are_believed(store: Path) -> None:
    record = CompletionRecord.read(store)
    sizes = {name: len(data) for name, data in FILES.items()}
    record.check_sizes(store, sizes=sizes)
    with pytest.raises(CorruptFeatureError, match=r"object zarr\.json has 1 bytes, expected 2"):
        record.check_sizes(store, sizes=sizes | {"zarr.json": 1})
    with pytest.raises(IncompleteStoreError, match=r"object zarr\.json is missing"):
        record.check_sizes(store, ["zarr.json"], sizes={})


def test_content_that_was_read_before(store: Path) -> None:
    record = CompletionRecord.read(store)
    record.check_content(store, "audio/c/0/0", b"rows")
    with pytest.raises(CorruptFeatureError, match="object audio/c/0/0 is not what was written"):
        record.check_content(store, "audio/c/0/0", b"rowS")


def test_where_there_is_no_store(tmp_path: Path, store: Path) -> None:
    with pytest.raises(IncompleteStoreError, match="no feature store there; run"):
        CompletionRecord.read(tmp_path / "nowhere")
    (store / RECORD_PATH).unlink()
    with pytest.raises(IncompleteStoreError, match=r"completion/zarr\.json is missing"):
        CompletionRecord.read(store)
    (store / "zarr.json").unlink()
    with pytest.raises(StoreFormatError, match="expected a feature store, got no Zarr group"):
        CompletionRecord.read(store)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreFormatError, match="expected a feature store"):
        CompletionRecord.read(tmp_path / "file")


@pytest.mark.parametrize(
    ("before", "after", "error", "message"),
    [
        ('"num_frames": 7', '"num_frames": 8', CorruptFeatureError, "does not fit its own digest"),
        ('"fingerprint": "ab"', '"fingerprint": "cd"', CorruptFeatureError, "does not fit its own digest"),
        # What stands beside the attributes; found by the corruption campaign.
        ('"zarr_format": 3', '"zarr_format": 2', CorruptFeatureError, "no longer a Zarr group"),
        ('"node_type": "group"', '"node_type": "gr/up"', CorruptFeatureError, "no longer a Zarr group"),
        ('"node_type": "group"', '"nodE_type": "group"', CorruptFeatureError, "no longer a Zarr group"),
        ('"num_clips"', '"num_clops"', CorruptFeatureError, "is damaged"),
        ("{", "", CorruptFeatureError, "is damaged"),
        (
            f'"format_version": {FORMAT_VERSION}',
            f'"format_version": {FORMAT_VERSION + 1}',
            StoreFormatError,
            f"reads .* version {FORMAT_VERSION}, got .* version {FORMAT_VERSION + 1}; update tagf",
        ),
        (
            f'"format_version": {FORMAT_VERSION}',
            '"format_version": 1',
            StoreFormatError,
            "got .* version 1; pack it again with 'tagf extract'; nothing is extracted again",
        ),
        ('"tagf-feature-store"', '"other"', StoreFormatError, f"got other version {FORMAT_VERSION}; update"),
    ],
)
def test_a_changed_record(store: Path, before: str, after: str, error: type[Exception], message: str) -> None:
    path = store / RECORD_PATH
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(error, match=message):
        CompletionRecord.read(store)
