"""How arrays are cut into objects, and what their metadata says."""

from __future__ import annotations

import math

import pytest

from cache import FeatureSpec, StreamSpec
from cache.layout import (
    CHUNK_ROWS,
    FORMAT_VERSION,
    MAX_SHARD_ROWS,
    SHARD_BYTES,
    clip_layouts,
    coordinates,
    frame_layouts,
    stream_layout,
)

WIDE = FeatureSpec(
    streams=(
        StreamSpec(name="visual", num_features=512, views=("center",)),
        StreamSpec(name="audio", num_features=128),
    ),
    settings={},
)


def test_version() -> None:
    assert FORMAT_VERSION == 2


@pytest.mark.parametrize(
    ("num_features", "shard_rows"),
    [
        (512, 262_144),  # 256 MiB of float16
        (513, 131_072),
        (128, 1_048_576),
        (1, 1_048_576),
        (2**17, 1024),  # one chunk is a shard
        (2**20, 1024),  # one chunk is more than a shard should be
    ],
)
def test_rows_per_shard(num_features: int, shard_rows: int) -> None:
    layout = stream_layout(StreamSpec(name="text", num_features=num_features), 0)
    assert layout.shard_rows() == shard_rows


def test_shards_are_as_large_as_they_may_be() -> None:
    for layout in (*frame_layouts(WIDE, 0), *clip_layouts(0), *(column for column, _ in coordinates(WIDE))):
        for chunk_rows in (CHUNK_ROWS, 3):
            rows = layout.shard_rows(chunk_rows)
            chunks = rows // chunk_rows
            assert rows % chunk_rows == 0
            assert chunks == 2 ** round(math.log2(chunks))
            assert rows <= MAX_SHARD_ROWS
            assert rows * layout.row_bytes <= SHARD_BYTES
            assert 2 * rows > MAX_SHARD_ROWS or 2 * rows * layout.row_bytes > SHARD_BYTES


@pytest.mark.parametrize("num_clips", [10, 10_000])
def test_a_million_rows_are_few_objects(num_clips: int) -> None:
    layouts = [
        *frame_layouts(WIDE, 1_000_000),
        *clip_layouts(num_clips),
        *(column for column, _ in coordinates(WIDE)),
    ]
    shards = [
        layout.object_path(view, shard)
        for layout in layouts
        for view in range(layout.num_views)
        for shard in range(math.ceil(layout.shape[layout.row_axis] / layout.shard_rows()))
    ]
    metadata = [*(f"{layout.name}/zarr.json" for layout in layouts), "zarr.json", "completion/zarr.json"]
    assert len({*shards, *metadata}) == len(shards) + len(metadata) <= 60


def test_paths_of_shards() -> None:
    visual, audio = frame_layouts(
        FeatureSpec(
            streams=(
                StreamSpec(name="visual", num_features=4, views=("center", "flip")),
                StreamSpec(name="audio", num_features=3),
            ),
            settings={},
        ),
        100,
    )[:2]
    assert visual.object_path(1, 20) == "visual/c/1/20/0"
    assert audio.object_path(0, 20) == "audio/c/20/0"
    assert clip_layouts(3)[0].object_path(0, 20) == "clip_id/c/20"
    assert (visual.num_views, audio.num_views, visual.row_bytes, audio.row_bytes) == (2, 1, 8, 6)


def test_coordinates_name_what_lies_along_a_dimension() -> None:
    named = {layout.name: (layout.dimensions, values) for layout, values in coordinates(WIDE)}
    assert named == {
        "view": (("view",), ("center",)),
        "box_edge": (("box_edge",), ("x0", "y0", "x1", "y1")),
    }
    audio = FeatureSpec(streams=WIDE.streams[1:], settings={})
    assert [layout.name for layout, _ in coordinates(audio)] == ["box_edge"]


def test_no_stream_takes_a_name_of_the_store() -> None:
    own = [*frame_layouts(WIDE, 0)[2:], *clip_layouts(0), *(column for column, _ in coordinates(WIDE))]
    for layout in own:
        with pytest.raises(ValueError, match="none of the store's own names"):
            StreamSpec(name=layout.name, num_features=1)
