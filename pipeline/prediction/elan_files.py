"""Files for ELAN (Max Planck Institute for Psycholinguistics): annotations, and curves of every row.

    NAME.eaf            to open: the video, tiers with the mean of each second, links to the other two
    NAME.elan.tsv       valence and arousal of every row, which ELAN's time series viewer draws
    NAME_tsconf.xml     tells that viewer which columns to draw, and their range; found by its name

The formats are those of ELAN's manual (EAF 3.0; "The Timeseries Viewer"). Its reader of tables splits lines
at the commas whatever is quoted, passes over lines that begin with #, and takes a time without a point for
milliseconds: so the table is one of its own, with tabs and with times that always have a point.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pipeline.prediction.annotation_tiers import AnnotationTiers, Span, TierTally
from pipeline.prediction.predicted_rows import PredictedRows
from pipeline.prediction.prediction_files import PartialFile

_CURVES = {"valence": "0,114,178", "arousal": "213,94,0"}
# Names by which ELAN tells the stereotypes of tiers; a document has all four of them.
_CONSTRAINTS = {
    "Time_Subdivision": "Time subdivision of parent annotation's time interval, no time gaps allowed within "
    "this interval",
    "Symbolic_Subdivision": "Symbolic subdivision of a parent annotation. Annotations refering to the same "
    "parent are ordered",
    "Symbolic_Association": "1-1 association with a parent annotation",
    "Included_In": "Time alignable annotations within the parent annotation's time interval, gaps are "
    "allowed",
}
_MIME_TYPES = {".mp4": "video/mp4", ".mov": "video/quicktime", ".mpg": "video/mpeg", ".wav": "audio/x-wav"}


class ElanFiles:
    """The three files of one clip.

    Args:
        path: Where the `.eaf` file goes; the others go beside it.
        media: The media file; None for rows from a store.
    """

    def __init__(self, path: Path, media: Path | None) -> None:
        self._media = media
        self._tally = TierTally()
        self._curves = PartialFile(path.with_name(f"{path.stem}.elan.tsv"))
        self._config = PartialFile(path.with_name(f"{path.stem}_tsconf.xml"))
        self._document = PartialFile(path)
        self._write("#time_s\t" + "\t".join(_CURVES) + "\n")

    def add(self, rows: PredictedRows) -> None:
        """As `RowFile.add`."""
        self._tally.add(rows)
        self._write(
            "".join(
                f"{time_s:.6f}\t{valence:.6f}\t{arousal:.6f}\n"
                for time_s, (valence, arousal) in zip(rows.time_s.tolist(), rows.values.tolist(), strict=True)
            )
        )

    def finish(self) -> None:
        """As `RowFile.finish`."""
        for file, root in (
            (self._config, _series_config(self._curves.path)),
            (
                self._document,
                _document(self._tally.tiers(), self._media, [self._curves.path, self._config.path]),
            ),
        ):
            ElementTree.indent(root)
            with file.guarded():
                ElementTree.ElementTree(root).write(file.file, encoding="UTF-8", xml_declaration=True)
        for file in (self._curves, self._config, self._document):
            file.finish()

    def commit(self) -> None:
        """As `RowFile.commit`."""
        for file in (self._curves, self._config, self._document):
            file.commit()

    def discard(self) -> None:
        """As `RowFile.discard`."""
        for file in (self._curves, self._config, self._document):
            file.discard()

    def _write(self, text: str) -> None:
        with self._curves.guarded():
            self._curves.file.write(text.encode())
            self._curves.file.flush()


def _series_config(curves: Path) -> ElementTree.Element:
    """What the time series viewer draws."""
    root = ElementTree.Element("timeseries", date=_now(), version="1.0")
    source = ElementTree.SubElement(
        root,
        "tracksource",
        {"sample-type": "Discontinuous Rate", "source-url": curves.absolute().as_uri(), "time-column": "0"},
    )
    provider = "mpi.eudico.client.annotator.timeseries.csv.CSVServiceProvider"
    ElementTree.SubElement(source, "property", key="provider", value=provider)
    for column, (name, colour) in enumerate(_CURVES.items(), start=1):
        track = ElementTree.SubElement(source, "track", derivative="0", name=name)
        ElementTree.SubElement(track, "property", key="detect-range", value="false")
        position = ElementTree.SubElement(track, "sample-position")
        ElementTree.SubElement(position, "pos", col=str(column), row="0")
        ElementTree.SubElement(track, "description")
        ElementTree.SubElement(track, "units")
        ElementTree.SubElement(track, "range", max="1.0", min="-1.0")
        ElementTree.SubElement(track, "color").text = colour
    return root


def _document(tiers: AnnotationTiers, media: Path | None, linked: list[Path]) -> ElementTree.Element:
    """The annotations, in ELAN's own format."""
    schema = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "tagf predict",
            "DATE": _now(),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": schema,
        },
    )
    header = ElementTree.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    if media is not None:
        mime_type = _MIME_TYPES.get(media.suffix.lower(), "unknown")
        ElementTree.SubElement(
            header, "MEDIA_DESCRIPTOR", MEDIA_URL=media.absolute().as_uri(), MIME_TYPE=mime_type
        )
    for path in linked:
        ElementTree.SubElement(
            header,
            "LINKED_FILE_DESCRIPTOR",
            LINK_URL=path.absolute().as_uri(),
            RELATIVE_LINK_URL=f"./{path.name}",
            MIME_TYPE="text/xml" if path.suffix == ".xml" else "unknown",
        )
    times = ElementTree.SubElement(root, "TIME_ORDER")
    annotations = _annotations(tiers, times)
    for name, of_tier in annotations.items():
        tier = ElementTree.SubElement(root, "TIER", TIER_ID=name, LINGUISTIC_TYPE_REF="default-lt")
        tier.extend(of_tier)
    ElementTree.SubElement(
        root,
        "LINGUISTIC_TYPE",
        LINGUISTIC_TYPE_ID="default-lt",
        TIME_ALIGNABLE="true",
        GRAPHIC_REFERENCES="false",
    )
    for name, description in _CONSTRAINTS.items():
        ElementTree.SubElement(root, "CONSTRAINT", STEREOTYPE=name, DESCRIPTION=description)
    return root


def _annotations(tiers: AnnotationTiers, times: ElementTree.Element) -> dict[str, list[ElementTree.Element]]:
    """The annotations of each tier; the times that they refer to are added, in rising order."""
    ends = [
        (round(end_s * 1000), name, number, end)
        for name, spans in tiers.tiers.items()
        for number, span in enumerate(_in_milliseconds(spans))
        for end, end_s in (("start", span.start_s), ("stop", span.stop_s))
    ]
    slot_of: dict[tuple[str, int, str], str] = {}
    for count, (time_ms, name, number, end) in enumerate(sorted(ends), start=1):
        slot_of[(name, number, end)] = slot = f"ts{count}"
        ElementTree.SubElement(times, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(time_ms))
    count = 0
    found: dict[str, list[ElementTree.Element]] = {}
    for name, spans in tiers.tiers.items():
        of_tier = found.setdefault(name, [])
        for number, span in enumerate(_in_milliseconds(spans)):
            count += 1
            annotation = ElementTree.Element("ANNOTATION")
            alignable = ElementTree.SubElement(
                annotation,
                "ALIGNABLE_ANNOTATION",
                ANNOTATION_ID=f"a{count}",
                TIME_SLOT_REF1=slot_of[(name, number, "start")],
                TIME_SLOT_REF2=slot_of[(name, number, "stop")],
            )
            ElementTree.SubElement(alignable, "ANNOTATION_VALUE").text = span.text
            of_tier.append(annotation)
    return found


def _in_milliseconds(spans: tuple[Span, ...]) -> Iterator[Span]:
    """Those that last a millisecond, which is as fine as ELAN's times are."""
    return (span for span in spans if round(span.stop_s * 1000) > round(span.start_s * 1000))


def _now() -> str:
    return datetime.now(UTC).astimezone().isoformat(timespec="seconds")
