"""Files for ELAN and Praat, as pympi and praatio read them."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pympi
import pytest
from praatio import data_points, textgrid

from pipeline.prediction.annotation_tiers import TierTally
from pipeline.prediction.elan_files import ElanFiles
from pipeline.prediction.praat_files import PraatFiles
from pipeline.prediction.predicted_rows import PredictedRows

MakeRows = Callable[..., PredictedRows]


@pytest.fixture
def rows(make_rows: MakeRows) -> PredictedRows:
    """3.6 s from 0.3 s on, faceless from 1.1 s to 1.5 s and at the end."""
    made = make_rows(90, start_s=0.3)
    faceless = ((made.time_s > 1.09) & (made.time_s < 1.49)) | (made.time_s > 3.69)
    return replace(made, face_found=~faceless)


def blocks(rows: PredictedRows) -> list[PredictedRows]:
    def part(which: slice) -> PredictedRows:
        names = ("frame", "time_s", "values", "deviation", "face_found", "face_box", "face_score")
        return replace(rows, **{name: getattr(rows, name)[which] for name in names})

    return [part(slice(0, 1)), part(slice(1, 31)), part(slice(31, 31)), part(slice(31, None))]


def means(rows: PredictedRows) -> list[tuple[float, float, str, str]]:
    """Spans of whole seconds, by numpy."""
    found = []
    for second in range(4):
        inside = (rows.time_s >= second - 1e-9) & (rows.time_s < second + 1 - 1e-9)
        valence, arousal = rows.values[inside].astype(float).mean(axis=0)
        found.append((max(second, 0.3), min(second + 1, 3.9), f"{valence:.2f}", f"{arousal:.2f}"))
    return found


def test_tiers(rows: PredictedRows) -> None:
    tally = TierTally()
    for block in blocks(rows):
        tally.add(block)
    tiers = tally.tiers()
    assert (tiers.start_s, tiers.stop_s) == pytest.approx((0.3, 3.9))
    for column, name in enumerate(("valence", "arousal")):
        expected = [(start, stop, texts[column]) for start, stop, *texts in means(rows)]
        spans = [(span.start_s, span.stop_s, span.text) for span in tiers.tiers[name]]
        assert [text for *_, text in spans] == [text for *_, text in expected]
        np.testing.assert_allclose([times for *times, _ in spans], [times for *times, _ in expected])
    faceless = [(span.start_s, span.stop_s) for span in tiers.tiers["no face"]]
    np.testing.assert_allclose(faceless, [(1.1, 1.5), (3.7, 3.9)])


def test_a_mean_of_nothing_has_no_minus(make_rows: MakeRows) -> None:
    tally = TierTally()
    tally.add(replace(make_rows(3), values=np.full((3, 2), -0.001, np.float32)))
    assert [span.text for span in tally.tiers().tiers["valence"]] == ["0.00"]
    assert TierTally().tiers().tiers == {"valence": (), "arousal": (), "no face": ()}


def test_elan(rows: PredictedRows, tmp_path: Path) -> None:
    media = tmp_path / "the clip, 1.mp4"
    files = ElanFiles(tmp_path / "clip.eaf", media)
    for block in blocks(rows):
        files.add(block)
    assert not (tmp_path / "clip.eaf").exists()
    files.finish()
    files.commit()
    assert {path.name for path in tmp_path.iterdir()} == {"clip.eaf", "clip.elan.tsv", "clip_tsconf.xml"}
    document = pympi.Eaf(str(tmp_path / "clip.eaf"))
    assert set(document.get_tier_names()) == {"valence", "arousal", "no face"}
    for column, name in enumerate(("valence", "arousal")):
        annotations = sorted(document.get_annotation_data_for_tier(name))
        expected = [
            (round(start * 1000), round(stop * 1000), each[column]) for start, stop, *each in means(rows)
        ]
        assert annotations == expected
    assert sorted(document.get_annotation_data_for_tier("no face")) == [
        (1100, 1500, "no face"),
        (3700, 3900, "no face"),
    ]
    (linked,) = document.get_linked_files()
    assert path_of(linked["MEDIA_URL"]) == media
    assert linked["MIME_TYPE"] == "video/mp4"
    secondary = [path_of(each["LINK_URL"]) for each in document.get_secondary_linked_files()]
    assert secondary == [tmp_path / "clip.elan.tsv", tmp_path / "clip_tsconf.xml"]
    # pympi writes what it has read, and reads that again: nothing in the file is strange to it.
    document.to_file(str(tmp_path / "again.eaf"))
    again = pympi.Eaf(str(tmp_path / "again.eaf")).get_annotation_data_for_tier("valence")
    assert sorted(again) == sorted(document.get_annotation_data_for_tier("valence"))


def test_elan_draws_every_row(make_rows: MakeRows, tmp_path: Path) -> None:
    rows = make_rows(90)  # with whole seconds among the times
    files = ElanFiles(tmp_path / "clip.eaf", None)
    for block in blocks(rows):
        files.add(block)
    files.finish()
    files.commit()
    source = ElementTree.parse(tmp_path / "clip_tsconf.xml").getroot().find("tracksource")
    assert source is not None
    assert path_of(source.attrib["source-url"]) == tmp_path / "clip.elan.tsv"
    # As ELAN reads it: no line that begins with #, cut at the tabs, seconds where there is a point.
    text = (tmp_path / "clip.elan.tsv").read_text()
    cells = list(csv.reader((line for line in text.splitlines() if line[0] != "#"), delimiter="\t"))
    times = [line[int(source.attrib["time-column"])] for line in cells]
    assert all("." in time for time in times)
    np.testing.assert_allclose(np.array(times, float), rows.time_s, atol=1e-6)
    for track, values in zip(source.findall("track"), rows.values.T, strict=True):
        position, extent = track.find("sample-position/pos"), track.find("range")
        assert position is not None
        assert extent is not None
        column = [line[int(position.attrib["col"])] for line in cells]
        np.testing.assert_allclose(np.array(column, float), values, atol=1e-6)
        assert (extent.attrib["min"], extent.attrib["max"]) == ("-1.0", "1.0")
    assert [track.attrib["name"] for track in source.findall("track")] == ["valence", "arousal"]
    assert not pympi.Eaf(str(tmp_path / "clip.eaf")).get_linked_files()


def path_of(url: str) -> Path:
    parsed = urlparse(url)
    assert parsed.scheme == "file"
    return Path(unquote(parsed.path))


def test_praat(rows: PredictedRows, tmp_path: Path) -> None:
    files = PraatFiles(tmp_path / "clip.TextGrid")
    for block in blocks(rows):
        files.add(block)
    files.finish()
    files.commit()
    assert {path.name for path in tmp_path.iterdir()} == {
        *("clip.TextGrid", "clip.valence.RealTier", "clip.arousal.RealTier")
    }
    grid = textgrid.openTextgrid(str(tmp_path / "clip.TextGrid"), includeEmptyIntervals=True)
    assert grid.tierNames == ("valence", "arousal", "no face")
    assert (grid.minTimestamp, grid.maxTimestamp) == pytest.approx((0, 3.9))
    for column, name in enumerate(("valence", "arousal")):
        empty, *spans = grid.getTier(name).entries
        assert (empty.start, empty.end, empty.label) == pytest.approx((0, 0.3, ""))
        assert [span.label for span in spans] == [each[column] for _, _, *each in means(rows)]
        np.testing.assert_allclose(
            [(span.start, span.end) for span in spans], [each[:2] for each in means(rows)]
        )
        # praatio knows PitchTier alone, which is a RealTier of another name.
        text = (tmp_path / f"clip.{name}.RealTier").read_text()
        assert text.startswith('File type = "ooTextFile"\nObject class = "RealTier"\n\n')
        assert f"points: size = {len(rows)} \n" in text
        (tmp_path / name).write_text(text.replace('"RealTier"', '"PitchTier"'))
        curve = data_points.open2DPointObject(str(tmp_path / name))
        assert (curve.minTime, curve.maxTime) == pytest.approx((0, 3.9))
        points = np.array(curve.pointList)
        np.testing.assert_allclose(points[:, 0], rows.time_s, atol=1e-6)
        np.testing.assert_allclose(points[:, 1], rows.values[:, column], atol=1e-6)
    labels = [span.label for span in grid.getTier("no face").entries]
    assert labels == ["", "no face", "", "no face"]


def test_praat_takes_a_clip_that_begins_before_0(make_rows: MakeRows, tmp_path: Path) -> None:
    files = PraatFiles(tmp_path / "clip.TextGrid")
    files.add(make_rows(20, start_s=-0.4))
    files.finish()
    files.commit()
    # praatio reads no negative times.
    for path in tmp_path.iterdir():
        assert path.read_text().split("\n")[3:5] == ["xmin = -0.400000 ", "xmax = 0.400000 "]


@pytest.mark.parametrize("kind", ["elan", "praat"])
def test_what_is_given_up_leaves_nothing(rows: PredictedRows, tmp_path: Path, kind: str) -> None:
    files = ElanFiles(tmp_path / "a.eaf", None) if kind == "elan" else PraatFiles(tmp_path / "a.TextGrid")
    files.add(rows)
    files.discard()
    assert not any(tmp_path.iterdir())
