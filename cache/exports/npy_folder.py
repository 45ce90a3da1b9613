"""A store as a folder of npy files.

::

    index.json           everything of the store but its rows (`cache.exports.export_index`)
    visual/NAME.npy      one file per clip, (V, N, D); NAME is its id, percent-encoded where it has to be
    time_s/NAME.npy      (N,), and so on: one folder per array
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cache.exports.export_index import ExportIndex
from cache.exports.exported_rows import ExportedRows
from cache.layout import ArrayLayout
from cache.swap import replacement_of_store

INDEX_FILE = "index.json"


def write_npy_folder(
    rows: ExportedRows, index: ExportIndex, destination: Path, progress: Callable[[int], object]
) -> None:
    """Write the folder, whole or not at all; see `cache.exports.hdf5_file.write_hdf5`."""
    # What swaps in a store swaps in any folder.
    with replacement_of_store(destination) as folder:
        for layout in rows.layouts:
            (folder / layout.name).mkdir()
        digests = []
        for number, clip in enumerate(index.clips):
            digests.append(
                {
                    layout.name: _write_array(rows, layout, number, folder / layout.name / f"{clip.name}.npy")
                    for layout in rows.layouts
                }
            )
            progress(1)
        (folder / INDEX_FILE).write_text(index.with_digests(digests).to_json(), encoding="ascii")


def _write_array(rows: ExportedRows, layout: ArrayLayout, clip: int, path: Path) -> str:
    """Write one array of a clip; its SHA-256."""
    digest = hashlib.sha256()
    with path.open("xb") as file:
        np.lib.format.write_array_header_1_0(
            file,
            {
                "descr": np.lib.format.dtype_to_descr(np.dtype(layout.dtype).newbyteorder("<")),
                "fortran_order": False,
                "shape": layout.shape_of(rows.num_frames(clip)),
            },
        )
        for _, _, block in rows.blocks(layout, clip, digest):  # in C order: view by view, rows rising
            file.write(block.data)
    return digest.hexdigest()
