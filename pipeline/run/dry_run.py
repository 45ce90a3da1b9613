"""`tagf extract --dry-run`: what an extraction would do, from names, headers and label files alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from cache.canonical_json import Json
from pipeline.clip_source import ClipSource, Manifest, Split
from pipeline.config import ExtractConfig
from pipeline.errors import MediaError
from pipeline.layouts.folders import face_image_number
from pipeline.layouts.label_header import LABEL_HEADER, has_times, label_header
from pipeline.manifest import read_manifest
from pipeline.media.headers import HeaderClaims, read_header

# Headers are read one seek after the other: a disk or a network waits more than a core works.
_NUM_THREADS = 8
# Aff-Wild2's labels are often a row longer than the video, and headers are often wrong by some frames.
_FAR_ROWS = 10
_FAR_SHARE = 0.02
# On a screen; the mapping has them all.
_NUM_SHOWN_PROBLEMS = 20


State: TypeAlias = Literal["kept", "pending", "unread"]


@dataclass(frozen=True, kw_only=True)
class ClipForecast:
    """What is to be expected of one clip.

    Attributes:
        clip_id: The clip.
        split: Its split.
        num_frames: Frames by the header; None where it cannot be read or says nothing.
        num_rows: Rows that these frames give.
        num_label_rows: Rows of the label file; None without one.
        num_faces: Images in its folder of faces; None where faces are looked for in the pictures.
        has_sound: Whether the header names an audio stream.
        state: `kept` where a part is finished, `pending` where it is to be extracted, `unread` where the
            media have to be read to tell; None if not asked for.
    """

    clip_id: str
    split: Split | None
    num_frames: int | None
    num_rows: int | None
    num_label_rows: int | None
    num_faces: int | None
    has_sound: bool
    state: State | None


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What an extraction would do; as text, a table for people and then the problems.

    Attributes:
        source: The source.
        layout: Its layout.
        clips: In manifest order.
        problems: One line each.
    """

    source: str
    layout: str
    clips: tuple[ClipForecast, ...]
    problems: tuple[str, ...]

    def to_mapping(self) -> dict[str, Json]:
        """All of it, for JSON; `totals` by split and of `all`."""
        return {
            "source": self.source,
            "layout": self.layout,
            "totals": {name: _totals(clips) for name, clips in self._groups()},
            "problems": list(self.problems),
            "clips": [asdict(clip) for clip in self.clips],
        }

    def __str__(self) -> str:
        totals = [(name, _totals(clips)) for name, clips in self._groups()]
        columns = [column for column, value in totals[-1][1].items() if value is not None]
        if not totals[-1][1]["num_unread"]:
            columns = [column for column in columns if column != "num_unread"]
        rows = [["", *(_TITLES[column] for column in columns)]]
        rows += [[name, *(_shown(total[column]) for column in columns)] for name, total in totals]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [f"layout {self.layout}, source {self.source}", ""]
        for row in rows:
            cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
        lines += ["", "Rows are what the headers claim; the run counts what it decodes."]
        if num_unread := totals[-1][1]["num_unread"]:
            lines.append(
                f"{_shown(num_unread)} not read yet: finished clips among them are found when they are read."
            )
        if not self.problems:
            return "\n".join([*lines, "No problems found."])
        lines.append("1 problem:" if len(self.problems) == 1 else f"{len(self.problems)} problems:")
        lines += [f"  {problem}" for problem in self.problems[:_NUM_SHOWN_PROBLEMS]]
        if (num_more := len(self.problems) - _NUM_SHOWN_PROBLEMS) > 0:
            lines.append(f"  and {num_more} more; --json lists them all")
        return "\n".join(lines)

    def _groups(self) -> Iterator[tuple[str, Sequence[ClipForecast]]]:
        """Clips by split, then all; a lone group is left out for being all."""
        splits = (*get_args(Split), None)
        groups = [(split, [clip for clip in self.clips if clip.split == split]) for split in splits]
        filled = [(split or "no split", clips) for split, clips in groups if clips]
        if len(filled) > 1:
            yield from filled
        yield "all", self.clips


_STATES: dict[bool | None, State] = {True: "kept", False: "pending", None: "unread"}
_TITLES = {
    "num_clips": "clips",
    "num_labelled": "with labels",
    "num_label_rows": "label rows",
    "num_rows": "rows",
    "num_with_faces": "with cropped faces",
    "num_faces": "face images",
    "num_silent": "without sound",
    "num_kept": "kept",
    "num_pending": "to do",
    "num_unread": "not read yet",
}


def plan_extraction(
    source: Path,
    layout: str,
    config: ExtractConfig,
    *,
    is_kept: Callable[[ClipSource], bool | None] | None = None,
) -> DryRun:
    """Look at a source as an extraction would, and extract nothing.

    Args:
        source: Folder or table of the media.
        layout: How it is laid out, one of `manifest.LAYOUTS`.
        config: The `extract` section.
        is_kept: Whether a clip's part is finished, None where its media have to be read to tell; None if that
            is not to be told.

    Raises:
        ManifestError: The source does not say what to extract.
    """
    manifest = read_manifest(source, layout)
    claims = _headers(manifest, config)
    problems = list(manifest.problems)
    problems += [str(claim) for claim in claims.values() if isinstance(claim, MediaError)]
    forecasts = []
    for clip in manifest.clips:
        forecast, found = _forecast(clip, claims[clip.media], is_kept)
        forecasts.append(forecast)
        problems += [f"clip {clip.clip_id!r}: {problem}" for problem in found]
    problems += _without_labels(manifest)
    return DryRun(source=str(source), layout=layout, clips=tuple(forecasts), problems=tuple(problems))


def _headers(manifest: Manifest, config: ExtractConfig) -> dict[Path, HeaderClaims | MediaError | None]:
    """By media file; None for a file that is not there, which the manifest's problems name."""

    def read(path: Path) -> HeaderClaims | MediaError | None:
        try:
            return read_header(path, config.media, config.limits) if path.is_file() else None
        except MediaError as error:
            return error

    paths = list(dict.fromkeys(clip.media for clip in manifest.clips))
    with ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="headers") as pool:
        return dict(zip(paths, pool.map(read, paths), strict=True))


def _forecast(
    clip: ClipSource,
    claims: HeaderClaims | MediaError | None,
    is_kept: Callable[[ClipSource], bool | None] | None,
) -> tuple[ClipForecast, list[str]]:
    """The forecast of a clip, and its problems."""
    header = claims if isinstance(claims, HeaderClaims) else None
    problems: list[str] = []
    num_frames = header.num_frames if header is not None else None
    num_labels = _num_label_rows(clip.annotation, num_frames, problems)
    num_faces = _num_faces(clip.faces, num_frames, problems)
    state: State | None = None
    if is_kept is not None:
        state = _STATES[is_kept(clip)]
    forecast = ClipForecast(
        clip_id=clip.clip_id,
        split=clip.split,
        num_frames=num_frames,
        num_rows=header.num_rows if header is not None else None,
        num_label_rows=num_labels,
        num_faces=num_faces,
        has_sound=header is not None and header.has_sound,
        state=state,
    )
    return forecast, problems


def _num_label_rows(path: Path | None, num_frames: int | None, problems: list[str]) -> int | None:
    """Rows of a label file; far from the number of frames they are a problem, but for rows with times."""
    if path is None:
        return None
    try:
        lines = path.read_bytes().rstrip().split(b"\n")
    except FileNotFoundError:
        return None  # the manifest's problems name it
    except OSError as error:
        problems.append(f"label file {str(path)!r} cannot be read: {error.strerror}")
        return None
    num_rows = len(lines) - 1
    if has_times(lines[0]):
        return num_rows
    header = label_header(lines[0])
    if header != LABEL_HEADER:
        problems.append(
            f"label file {str(path)!r}: expected the first line {LABEL_HEADER!r}, got {header[:40]!a}"
        )
    if num_frames is not None and _is_far(num_rows, num_frames):
        problems.append(f"{num_rows} label rows, but {num_frames} frames by the header")
    return num_rows


def _num_faces(folder: Path | None, num_frames: int | None, problems: list[str]) -> int | None:
    """Images in a folder of faces; those of frames that the video cannot have are a problem."""
    if folder is None:
        return None
    try:
        numbers = [number for name in os.listdir(folder) if (number := face_image_number(name)) is not None]
    except FileNotFoundError:
        return 0  # the manifest's problems name it
    except OSError as error:
        problems.append(f"folder of faces {str(folder)!r} cannot be read: {error.strerror}")
        return 0
    last = max(numbers, default=0)
    if num_frames is not None and last > num_frames and _is_far(last, num_frames):
        problems.append(f"a face image of frame {last}, but {num_frames} frames by the header")
    if not numbers:
        problems.append(f"folder of faces {str(folder)!r}: expected images named 00001.jpg, found none")
    return len(numbers)


def _is_far(num_rows: int, num_frames: int) -> bool:
    return abs(num_rows - num_frames) > max(_FAR_ROWS, _FAR_SHARE * num_frames)


def _without_labels(manifest: Manifest) -> Iterator[str]:
    """Clips of the labelled splits that lack labels, where others have them."""
    if any(clip.annotation for clip in manifest.clips):
        for clip in manifest.clips:
            if clip.split in ("train", "validation") and clip.annotation is None:
                yield f"clip {clip.clip_id!r}: of split {clip.split!r}, but without a label file"


def _totals(clips: Sequence[ClipForecast]) -> dict[str, int | None]:
    asked = any(clip.state is not None for clip in clips)
    num_unread = _count(clip.state == "unread" for clip in clips)
    return {
        "num_clips": len(clips),
        "num_labelled": _count(clip.num_label_rows is not None for clip in clips),
        "num_label_rows": sum(clip.num_label_rows or 0 for clip in clips),
        "num_rows": sum(clip.num_rows or 0 for clip in clips),
        "num_with_faces": _count(clip.num_faces is not None for clip in clips),
        "num_faces": sum(clip.num_faces or 0 for clip in clips),
        "num_silent": _count(clip.num_frames is not None and not clip.has_sound for clip in clips),
        "num_kept": _count(clip.state == "kept" for clip in clips) if asked else None,
        "num_pending": _count(clip.state == "pending" for clip in clips) if asked else None,
        "num_unread": num_unread if asked else None,
    }


def _count(conditions: Iterable[bool]) -> int:
    return sum(conditions)


def _shown(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
