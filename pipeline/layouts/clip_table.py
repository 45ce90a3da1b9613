"""The layout `manifest`: a CSV table with one clip per line.

    clip_id,video,faces,annotation,split,subject
    s01,videos/first.mp4,,labels/s01.txt,train,anna

Tables come out of spreadsheets, so a byte order mark and semicolons or tabs for commas are taken as they are.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar, get_args

from pipeline.clip_source import ClipSource, FaceChoice, Manifest, Split, lookalikes, require_clip_id
from pipeline.errors import ManifestError

_NEEDED = ("clip_id", "video")
_COLUMNS = (*_NEEDED, "faces", "annotation", "split", "subject", "face")
_DELIMITERS = (",", ";", "\t")

_Choice = TypeVar("_Choice", bound=str)


def read_clip_table(source: Path) -> Manifest:
    """The clips that a table lists, in its order.

    Args:
        source: A CSV file in UTF-8. Columns `clip_id` and `video` are needed, `faces`, `annotation`, `split`
            (train, validation, test), `subject` and `face` (largest, longest, left, right) are not. Paths are
            relative to the table's folder.

    Returns:
        The clips. Files that are not there are problems: their clips will fail alone.

    Raises:
        ManifestError: No such file, not a table with these columns, a cell with an impossible value, a clip
            listed twice, or none of the videos exists. Names the line.
    """
    rows = _rows(source, _text(source))
    try:
        columns = _columns(source, next(rows)[1])
    except StopIteration:
        raise ManifestError(
            f"{_quoted(source)}: expected a line of column names ({', '.join(_COLUMNS)}), found an empty file"
        ) from None
    clips: list[ClipSource] = []
    problems = _unknown_columns(source, columns)
    line_of: dict[str, int] = {}
    missing: list[str] = []
    for line, cells in rows:
        where = f"{_quoted(source)}, line {line}"
        clip = _clip(where, source.parent, _named(where, columns, cells))
        if clip.clip_id in line_of:
            raise ManifestError(
                f"{where}: clip_id {clip.clip_id!r} is that of line {line_of[clip.clip_id]}; expected each "
                "clip once: rename one of them"
            )
        line_of[clip.clip_id] = line
        clips.append(clip)
        if not clip.media.is_file():
            missing.append(f"{where}: no video {str(clip.media)!r}")
        if clip.faces is not None and not clip.faces.is_dir():
            problems.append(f"{where}: no folder of faces {str(clip.faces)!r}")
        if clip.annotation is not None and not clip.annotation.is_file():
            problems.append(f"{where}: no label file {str(clip.annotation)!r}")
    if not clips:
        raise ManifestError(f"{_quoted(source)}: expected one line per clip, found column names alone")
    if len(missing) == len(clips):
        raise ManifestError(
            f"{missing[0]}, and none of the table's others; paths are relative to the table's folder"
        )
    return Manifest(clips=tuple(clips), problems=(*problems, *missing, *lookalikes(line_of)))


def _quoted(source: Path) -> str:
    return f"table {str(source)!r}"


def _text(source: Path) -> str:
    if source.is_dir() or not source.exists():
        found = "a folder" if source.is_dir() else "nothing"
        raise ManifestError(
            f"source {str(source)!r}: the layout 'manifest' expects a CSV file, found {found}; give the "
            "table's path, or the layout of the folder"
        )
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ManifestError(f"{_quoted(source)} cannot be read: {error.strerror}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ManifestError(
            f"{_quoted(source)}, line {line}: expected UTF-8, got byte 0x{content[error.start]:02x}; save "
            "the table as 'CSV UTF-8'"
        ) from None


def _rows(source: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line and cells of each row that is not blank."""
    first_line = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise ManifestError(
                f"{_quoted(source)}, line {line}: expected cells between {delimiter!r}, quoted with '\"' "
                f"where they hold one, got: {error}; correct the line"
            ) from error
        if any(cells):
            yield line, cells


def _columns(source: Path, names: Sequence[str]) -> list[str]:
    columns = [name.lower() for name in names]
    lacking = [name for name in _NEEDED if name not in columns]
    twice = [name for name in columns if name and columns.count(name) > 1]
    if lacking or twice:
        wrong = f"no column {lacking[0]!r}" if lacking else f"the column {twice[0]!r} twice"
        raise ManifestError(
            f"{_quoted(source)}: expected columns {', '.join(_COLUMNS)} (needed: {', '.join(_NEEDED)}), got "
            f"{wrong} among {names}; correct the first line"
        )
    return columns


def _unknown_columns(source: Path, columns: Sequence[str]) -> list[str]:
    problems = []
    for name in columns:
        if name and name not in _COLUMNS:
            close = get_close_matches(name, _COLUMNS, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            problems.append(f"{_quoted(source)}: the column {name!a} is not read{hint}")
    return problems


def _named(where: str, columns: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """Cells by column; a short row lacks its last cells, a long one may have empty ones."""
    if any(cells[len(columns) :]):
        raise ManifestError(
            f"{where}: expected {len(columns)} cells, got {len(cells)}; quote cells that hold a separator"
        )
    return {name: cell for name, cell in zip(columns, cells, strict=False) if cell}


def _clip(where: str, folder: Path, cells: Mapping[str, str]) -> ClipSource:
    for name in _NEEDED:
        if name not in cells:
            raise ManifestError(
                f"{where}: expected a {name}, got an empty cell; fill it in or remove the line"
            )
    for name, cell in cells.items():
        if not cell.isprintable():
            raise ManifestError(f"{where}: expected printable characters as {name}, got {cell!a}; correct it")
    require_clip_id(cells["clip_id"], where=where)
    paths = {name: folder / cells[name] for name in ("faces", "annotation") if name in cells}
    return ClipSource(
        clip_id=cells["clip_id"],
        media=folder / cells["video"],
        faces=paths.get("faces"),
        face=_choice(where, "face", cells, get_args(FaceChoice)),
        annotation=paths.get("annotation"),
        split=_choice(where, "split", cells, get_args(Split)),
        subject=cells.get("subject"),
    )


def _choice(where: str, name: str, cells: Mapping[str, str], choices: tuple[_Choice, ...]) -> _Choice | None:
    given = cells.get(name)
    if given is None:
        return None
    for choice in choices:
        if choice == given.lower():
            return choice
    raise ManifestError(f"{where}: {name} must be one of {', '.join(choices)} or empty, got {given!r}")
