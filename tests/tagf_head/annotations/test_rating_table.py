"""CSV files with time stamps, as spreadsheets, scripts and annotation tools leave them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tagf_head.annotations.csv_table import read_text
from tagf_head.annotations.rating_table import parse_rated_labels, parse_rated_trace
from tagf_head.annotations.timed_labels import TimedLabels
from tagf_head.errors import AnnotationError

NAN = np.nan
FILE = Path("clip.csv")
TIMES = [0.0, 0.04, 0.08]
VALENCE = [0.5, NAN, -0.25]
AROUSAL = [-0.1, 0.2, 0.3]


def check(labels: TimedLabels) -> None:
    for found in (labels.valence, labels.arousal):
        np.testing.assert_allclose(found.time_s, TIMES, atol=1e-12)
    np.testing.assert_allclose(labels.valence.value, VALENCE, atol=1e-12)
    np.testing.assert_allclose(labels.arousal.value, AROUSAL, atol=1e-12)


@pytest.mark.parametrize(
    "content",
    [
        b"time,valence,arousal\n0,0.5,-0.1\n0.04,,0.2\n0.08,-0.25,0.3\n",
        b"\xef\xbb\xbfTime;Valence;Arousal\r\n0,00;0,5;-0,1\r\n0,04;;0,2\r\n0,08;-0,25;0,3\r\n;;\r\n\r\n",
        b"sep=;\r\ntime;valence;arousal\r\n0;0.5;-0.1\r\n0.04;NaN;0.2\r\n0.08;-0.25;0.3\r\n",
        b"time_ms\tarousal\tvalence\n0\t-0.1\t0.5\n40\t0.2\t-5\n80\t0.3\t-0.25\n",
        b"name;timeStamp; arousal ;valence;liking\nx;0;-0.1;0.5;0.9\nx;0.04;0.2;n/a;\nx;0.08;0.3;-0.25;x\n",
        b'"Time [s]","valence","arousal"\n"0,00","0,5","-0,1"\n"0,04","","0,2"\n"0,08","-0,25","0,3"\n',
        b"\n\ntime (ms),valence,arousal,\n0,0.5,-0.1,\n\n40,-5,0.2,\n80,-0.25,0.3,\n",
        b"seconds,valence,arousal\r0,0.5,-0.1\r0.04,null,0.2\r0.08,-0.25,0.3\r",
    ],
)
def test_reads_what_users_have(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.csv"
    path.write_bytes(content)
    check(parse_rated_labels(path, read_text(path), "mean"))


def test_columns_of_several_raters() -> None:
    text = (
        "time;A1_valence;valence.FM2;arousalZoë;arousal 2\n"
        "0;0.5;0.7;0.1;\n0.04;0.1;;;\n0.08;-0.5;0.1;0.3;0.7\n"
    )
    labels = parse_rated_labels(FILE, text, "mean")
    np.testing.assert_allclose(labels.valence.value, [0.6, 0.1, -0.2], atol=1e-12)
    np.testing.assert_allclose(labels.arousal.value, [0.1, NAN, 0.5], atol=1e-12)


def test_every_column_of_a_file_of_one_target_is_a_rater() -> None:
    text = "time;FM1 ;FM2 ;S;\n0.00;0.1;0.3;0.2;\n0.04;-0.1;0.1;0.0;\n"
    label = parse_rated_trace(FILE, text, "arousal", "mean")
    np.testing.assert_allclose(label.value, [0.2, 0.0], atol=1e-12)
    np.testing.assert_allclose(label.time_s, [0, 0.04], atol=1e-12)


def test_pandas_index_is_no_rater() -> None:
    text = ",time,A1,A2\n0,0.0,0.1,0.3\n1,0.04,-0.1,0.1\n"
    np.testing.assert_allclose(parse_rated_trace(FILE, text, "valence", "mean").value, [0.2, 0.0], atol=1e-12)


def test_gold_standard_is_that_which_is_asked_for() -> None:
    rows = "".join(f"{i / 25},{np.sin(i)},{np.sin(i) ** 3},{np.cos(3 * i)}\n" for i in range(40))
    text = f"time,A1,A2,A3\n{rows}"
    mean, ewe = (parse_rated_trace(FILE, text, "valence", kind).value for kind in ("mean", "ewe"))
    assert np.abs(mean - ewe).max() > 0.01


@pytest.mark.parametrize(
    ("text", "line", "got"),
    [
        ("time,valence,arousal\n0,0,0\n0.04,0,1.2\n", 3, "column 'arousal' must lie in [-1, 1]"),
        ("time,valence,arousal\n0,-500,0\n", 2, "got -500"),
        ("time,valence,arousal\n0,0,0\n0.04,inf,0\n", 3, "got 'inf'"),
        ("time,valence,arousal\n0,0,0\n\n0.04,high,0\n", 4, "in column 'valence', got 'high'"),
        ("time,valence,arousal\n0,0,0\n0.04,0,0\n0.04,0,0\n", 4, "got 0.04 after 0.04 in line 3"),
        ("time,valence,arousal\n0.08,0,0\n0.04,0,0\n", 3, "got 0.04 after 0.08 in line 2"),
        ("time,valence,arousal\n0,0,0\n,0.1,0.2\n", 3, "expected a time in column 'time', got an empty cell"),
        ("time,valence,arousal\n0:00:01,0,0\n", 2, "got '0:00:01'"),
        ("time,valence,arousal\n0,04,0,5,0,1\n", 2, "expected 3 cells"),
        ("time,valence\n0,0\n", 1, "got no arousal"),
        ("time,valence_arousal\n0,0\n", 1, "'valence_arousal' for both"),
        (
            "time,time_ms,valence,arousal\n0,0,0,0\n",
            1,
            "expected one column of times (time_s or time_ms), got 2",
        ),
        ("time,valence_A1,valence_std,arousal\n0,0,0,0\n", 1, "got 'valence_std'"),
        ("time,valence,valence_A1,arousal\n0,0,0,0\n", 1, "got 'valence'"),
        ("time,valence_A1,valence_A1,arousal\n0,0,0,0\n", 1, "got 'valence_A1'"),
        ('time,valence,arousal\n0,"0,0\n', 2, "expected cells between ','"),
    ],
)
def test_mistakes_are_named(text: str, line: int, got: str) -> None:
    with pytest.raises(AnnotationError) as caught:
        parse_rated_labels(FILE, text, "mean")
    assert f"clip.csv, line {line}: " in str(caught.value)
    assert got in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("time;valence;A1\n0;0;0\n", "got 'valence'"),
        ("time;arousal_A1\n0;0\n", "got a column 'arousal_A1'"),
        ("time\n0\n", "got times alone"),
        ("time;A1;;A2\n0;0;0;0\n", "got ''"),
    ],
)
def test_mistakes_in_a_file_of_one_target(text: str, got: str) -> None:
    with pytest.raises(AnnotationError, match=r"clip\.csv, line 1: ") as caught:
        parse_rated_trace(FILE, text, "valence", "mean")
    assert got in str(caught.value)


@pytest.mark.parametrize("step", [40, 1, 0.0005])
def test_a_unit_that_cannot_be_known_is_asked_for(step: float) -> None:
    text = "{name},valence,arousal\n" + "".join(f"{i * step},0,0\n" for i in range(4))
    with pytest.raises(AnnotationError, match=r"line 1: column 'time' names no unit.*time_s or time_ms"):
        parse_rated_labels(FILE, text.format(name="time"), "mean")
    for name, seconds in (("time_s", step), ("time_ms", step / 1000)):
        labels = parse_rated_labels(FILE, text.format(name=name), "mean")
        np.testing.assert_allclose(labels.valence.time_s, np.arange(4) * seconds, atol=1e-12)


def test_a_file_without_rows_has_no_labels() -> None:
    assert parse_rated_labels(FILE, "time,valence,arousal\n", "ewe").num_labelled == 0


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ("time;valence;arousal\n".encode("utf-16"), "line 1: expected text in UTF-8, got byte 0xff"),
        (b"time;valence_Zo\xeb\n", "line 1: expected text in UTF-8, got byte 0xeb"),
    ],
)
def test_other_encodings_are_named(tmp_path: Path, content: bytes, got: str) -> None:
    path = tmp_path / "clip.csv"
    path.write_bytes(content)
    with pytest.raises(AnnotationError) as caught:
        read_text(path)
    assert got in str(caught.value)
    with pytest.raises(AnnotationError, match=r"none\.csv: cannot be read \(No such file"):
        read_text(tmp_path / "none.csv")
