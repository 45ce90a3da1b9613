"""The metadata of a store: whether it is what was written, and what it says of the arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from cache.chunk_grid import ChunkGrid
from cache.layout import ArrayLayout, clip_layouts, coordinates, frame_layouts
from cache.location import Location
from cache.record import CompletionRecord
from cache.spec import FeatureSpec
from cache.verify.report import Findings

_GROUP_PATH = "zarr.json"


@dataclass(frozen=True, kw_only=True)
class StoreMetadata:
    """What the metadata of a store says.

    Attributes:
        objects: Paths of the metadata that was compared with its digest.
        arrays: Arrays by name, in the order in which the format lists them.
        frame_arrays: Names of those with one row per frame.
    """

    objects: tuple[str, ...]
    arrays: Mapping[str, ChunkGrid]
    frame_arrays: frozenset[str]


def read_metadata(
    location: Location, record: CompletionRecord, whole: set[str], findings: Findings
) -> StoreMetadata:
    """Read a store's metadata and note what does not fit.

    Args:
        location: The store.
        record: Its completion record.
        whole: Objects that are there and of their size.
        findings: What is wrong goes there.
    """
    paths = [path for path in record.objects if path in whole and path.rpartition("/")[2] == _GROUP_PATH]
    documents = {}
    for path, document in location.read_many(paths).items():
        if sha256(document).hexdigest() == record.objects[path].sha256:
            documents[path] = document
        else:
            array = path.rpartition("/")[0] or None
            findings.add("is not what was written: its SHA-256 is another", object=path, array=array)
    frames, clips, names = _layouts(documents, record, findings)
    arrays = {}
    for layout in (*clips, *names, *frames):
        path = f"{layout.name}/{_GROUP_PATH}"
        if path not in record.objects:
            findings.add("is not in the completion record, so the array is lost", object=path)
        elif path in documents:
            try:
                grid = ChunkGrid.from_metadata(layout.name, documents[path], layout.row_axis)
            except ValueError as error:
                findings.add(f"is not the metadata of an array: {error}", object=path, array=layout.name)
                continue
            if (grid.shape, grid.data_type, grid.dimensions) == (
                layout.shape,
                layout.dtype,
                layout.dimensions,
            ):
                arrays[layout.name] = grid
            else:
                findings.add(
                    f"expected {layout.dtype} of shape {layout.shape} along {layout.dimensions}, got "
                    f"{grid.data_type} of shape {grid.shape} along {grid.dimensions}",
                    object=path,
                    array=layout.name,
                )
    return StoreMetadata(
        objects=tuple(paths),
        arrays=arrays,
        frame_arrays=frozenset(layout.name for layout in frames),
    )


def _layouts(
    documents: Mapping[str, bytes], record: CompletionRecord, findings: Findings
) -> tuple[tuple[ArrayLayout, ...], tuple[ArrayLayout, ...], tuple[ArrayLayout, ...]]:
    """Arrays along frames, along clips and coordinates that the store's spec asks for."""
    clips = clip_layouts(record.num_clips)
    if _GROUP_PATH not in documents:
        if _GROUP_PATH not in record.objects:
            findings.add("is not in the completion record, so the feature spec is lost", object=_GROUP_PATH)
        return (), clips, ()
    try:
        attributes = json.loads(documents[_GROUP_PATH])["attributes"]
        spec = FeatureSpec.from_json(json.dumps(attributes["feature_spec"]))
    except (KeyError, TypeError, ValueError) as error:
        findings.add(f"holds no feature spec ({error})", object=_GROUP_PATH)
        return (), clips, ()
    if spec.fingerprint != record.fingerprint:
        findings.add(
            f"its feature spec has the fingerprint {spec.fingerprint}, expected {record.fingerprint}",
            object=_GROUP_PATH,
        )
    named = tuple(layout for layout, _ in coordinates(spec))
    return frame_layouts(spec, record.num_frames), clips, named
