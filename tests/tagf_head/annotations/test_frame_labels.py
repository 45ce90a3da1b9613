"""Labels per decoded picture: reading Aff-Wild2's text form, and giving them to frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tagf_head.annotations.clip_labels import AlignedLabels
from tagf_head.annotations.frame_labels import FrameLabels, parse_frame_labels
from tagf_head.errors import AnnotationError

FILE = Path("clip.txt")


def parse(rows: str) -> np.ndarray:
    return parse_frame_labels(FILE, f"valence,arousal\n{rows}").values


def align(values: object, source_frame: object, delay_s: float = 0.0, fps: float = 25.0) -> AlignedLabels:
    source_frame = np.asarray(source_frame, np.int64)
    labels = FrameLabels(values=np.asarray(values, np.float32))
    return labels.align(source_frame, 0.4 + source_frame / fps, delay_s)


def counts(aligned: AlignedLabels) -> tuple[int, int, int]:
    return aligned.num_not_annotated, aligned.num_missing, aligned.num_surplus


def test_reads_rows_in_order() -> None:
    np.testing.assert_array_equal(parse("0.5,-0.25\n-1,1\n"), np.float32([[0.5, -0.25], [-1, 1]]))
    assert parse("").shape == (0, 2)


@pytest.mark.parametrize(
    "text",
    [
        "valence,arousal\r\n0.1,-0.2\r\n-5,-5\r\n",
        "valence,arousal\n0.1,-0.2\n-5,-5\n\n\n",
        "Valence, Arousal\n0.1, -0.2\n-5, -5\n",
        "valence;arousal\n0,1;-0,2\n-5;-5\n",
        "valence\tarousal\n0.1\t-0.2\n-5\t-5\n",
        "valence,arousal\n0.1,-0.2\n,\n",
        "valence,arousal\n0.1,-0.2\nnan,0.3\n",
        "sep=;\nvalence;arousal\n0,1;-0,2\n;\n",
        '"valence","arousal"\n0.1,-0.2\nNA,NA\n',
        "\n\nvalence,arousal\n0.1,-0.2\n-5,-5\n",
        "valence\tarousal\n0.1\t-0.2\n\t\n\n",
        "valence\tarousal\n0.1\t-0.2\n0.3\t",
    ],
)
def test_reads_what_other_programs_write(text: str) -> None:
    found = parse_frame_labels(FILE, text)
    aligned = found.align(np.arange(2), np.arange(2) / 25, 0.0)
    np.testing.assert_array_equal(aligned.labels, np.float32([[0.1, -0.2], [0, 0]]))
    assert aligned.mask.tolist() == [True, False]
    assert (found.num_labelled, aligned.num_not_annotated) == (1, 1)


@pytest.mark.parametrize(
    ("rows", "line", "got"),
    [
        ("0,0\n0.5,1.01\n", 3, "arousal must lie in [-1, 1] or be -5"),
        ("-5.5,0\n", 2, "valence must lie in [-1, 1] or be -5"),
        ("0,inf\n", 2, "column 'arousal', got 'inf'"),
        ("0,0\n,\n0,2\n", 4, "arousal must lie in [-1, 1]"),
        ("0,0\n0,0\nhalf,0\n", 4, "column 'valence', got 'half'"),
        ("0,0\n\n0,0\n", 3, "got a blank line"),
        ("0,0\n0.5\n", 3, "got '0.5'"),
        ("0,0,0\n", 2, "got 3"),
        ("0,0\n# 0,0\n", 3, "column 'valence', got '# 0'"),
    ],
)
def test_malformed_rows_are_named(rows: str, line: int, got: str) -> None:
    with pytest.raises(AnnotationError) as caught:
        parse(rows)
    assert f"clip.txt, line {line}: " in str(caught.value)
    assert got in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("header", "line"), [("arousal,valence", 1), ("0.1,0.2", 1), ("", 2)])
def test_header_is_checked(header: str, line: int) -> None:
    with pytest.raises(
        AnnotationError, match=rf"clip\.txt, line {line}: expected the header 'valence,arousal'"
    ):
        parse_frame_labels(FILE, f"{header}\n0.1,0.2\n")
    with pytest.raises(AnnotationError, match=r"clip\.txt: .* got an empty file"):
        parse_frame_labels(FILE, "\n")


def test_not_annotated_in_one_column_masks_the_row() -> None:
    values = np.array([[0.1, 0.2], [-5, 0.3], [0.4, -5], [-5, -5], [0.5, 0.6]], np.float32)
    aligned = align(values, np.arange(5))
    assert aligned.mask.tolist() == [True, False, False, False, True]
    np.testing.assert_array_equal(aligned.labels[[0, 4]], values[[0, 4]])
    assert not aligned.labels[1:4].any()
    assert counts(aligned) == (3, 0, 0)


def test_surplus_label_rows_are_dropped() -> None:
    aligned = align([[0.1, 0.1], [0.2, 0.2], [-5, -5]], np.arange(1))
    np.testing.assert_array_equal(aligned.labels, np.float32([[0.1, 0.1]]))
    assert counts(aligned) == (0, 0, 2)


def test_missing_label_rows_are_masked() -> None:
    aligned = align([[0.1, -0.1]], np.arange(3))
    assert aligned.mask.tolist() == [True, False, False]
    assert not aligned.labels[1:].any()
    assert counts(aligned) == (0, 2, 0)


def test_labels_follow_the_decoded_picture() -> None:
    values = np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2)
    aligned = align(values, [0, 2, 3, 7])
    np.testing.assert_array_equal(aligned.labels[:3], values[[0, 2, 3]])
    assert aligned.mask.tolist() == [True, True, True, False]
    assert counts(aligned) == (0, 1, 3)


def test_rows_of_one_picture_share_its_label() -> None:
    values = np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)
    labels = FrameLabels(values=values)
    aligned = labels.align(np.repeat(np.arange(3), 4), np.arange(12) / 40, 0.0)
    np.testing.assert_array_equal(aligned.labels, np.repeat(values[:3], 4, axis=0))
    assert counts(aligned) == (0, 0, 1)


def test_a_delay_of_whole_pictures_shifts_rows() -> None:
    values = np.linspace(-1, 1, 200, dtype=np.float32).reshape(100, 2)
    for num_pictures in (1, 7, 50, -3):
        aligned = align(values, np.arange(100), num_pictures / 30, fps=30)
        kept = slice(0, 100 - num_pictures) if num_pictures > 0 else slice(-num_pictures, 100)
        shifted = slice(num_pictures, 100) if num_pictures > 0 else slice(0, 100 + num_pictures)
        np.testing.assert_array_equal(aligned.labels[kept], values[shifted])
        assert aligned.mask[kept].all()
        assert aligned.mask.sum() == 100 - abs(num_pictures)
        assert counts(aligned) == (0, abs(num_pictures), abs(num_pictures))


def test_a_delay_of_half_a_picture_takes_the_earlier_one() -> None:
    values = np.linspace(-1, 1, 200, dtype=np.float32).reshape(100, 2)
    np.testing.assert_array_equal(align(values, np.arange(100), 0.02).labels, values)
    np.testing.assert_array_equal(align(values, np.arange(100), 0.06).labels[:-1], values[1:])


def test_a_delay_takes_the_nearest_picture_of_an_uneven_video() -> None:
    generator = np.random.default_rng(4)
    time_s = np.cumsum(generator.uniform(0.02, 0.2, 300))
    values = np.round(generator.uniform(-1, 1, (300, 2)), 3).astype(np.float32)
    aligned = FrameLabels(values=values).align(np.arange(300), time_s, 1.234)
    for row, wanted_s in enumerate(time_s + 1.234):
        if wanted_s <= time_s[-1]:
            nearest = int(np.argmin(np.abs(time_s - wanted_s)))
            np.testing.assert_array_equal(aligned.labels[row], values[nearest])
            assert aligned.mask[row]
    # The picture after the last one would come at the mean distance of the last fifty.
    beyond = time_s + 1.234 > time_s[-1] + (time_s[-1] - time_s[-51]) / 50 / 2
    assert beyond.any()
    assert not aligned.mask[beyond].any()
    assert aligned.num_missing == beyond.sum()


def test_a_delay_meets_the_labels_of_pictures_that_the_store_left_out() -> None:
    values = np.linspace(-1, 1, 200, dtype=np.float32).reshape(100, 2)
    aligned = align(values, np.arange(0, 100, 5), 0.08)  # two pictures at 25 per second
    # Picture 97 is beyond the last row, 95.
    np.testing.assert_array_equal(aligned.labels, values[2::5])
    early = align(values, np.arange(0, 100, 5), -0.08)
    assert early.mask.tolist() == [False] + [True] * 19
    np.testing.assert_array_equal(early.labels[1:], values[3:98:5])


def test_a_delay_meets_the_labels_beyond_the_rows_of_a_part_of_a_video() -> None:
    values = np.linspace(-1, 1, 140, dtype=np.float32).reshape(70, 2)
    late, early = (align(values, np.arange(40, 60), delay_s) for delay_s in (0.4, -0.4))
    np.testing.assert_array_equal(late.labels, values[50:70])
    np.testing.assert_array_equal(early.labels, values[30:50])
    assert counts(late) == counts(early) == (0, 0, 50)
    # Two rows further, and the file ends.
    assert align(values, np.arange(42, 62), 0.4).mask.tolist() == [True] * 18 + [False] * 2
    # Steps of 33 and 34 ms, as Matroska has them at 30 per second.
    rounded_s = np.round(np.arange(100, 300) / 30, 3)
    many = np.linspace(-1, 1, 800, dtype=np.float32).reshape(400, 2)
    for delay_s, start in ((2.0, 160), (-2.0, 40)):
        shifted = FrameLabels(values=many).align(np.arange(100, 300), rounded_s, delay_s)
        np.testing.assert_array_equal(shifted.labels, many[start : start + 200])
    # Each picture has four rows, at 40 rows per second.
    repeated = FrameLabels(values=values).align(np.repeat(np.arange(40, 43), 4), np.arange(12) / 40, 0.2)
    np.testing.assert_array_equal(repeated.labels, np.repeat(values[42:45], 4, axis=0))


def test_a_lone_frame_has_no_other_picture() -> None:
    assert align([[0.1, 0.2], [0.3, 0.4]], [0], 0.02).mask.tolist() == [False]
    assert align(np.zeros((0, 2)), [], 1.0).labels.shape == (0, 2)


def test_content_tells_labels_apart() -> None:
    base = parse("0,0\n0.5,0.5\n")
    others = [parse(rows) for rows in ("0,0\n0.5,0.501\n", "0,0\n0.5,0.5\n0,0\n", "0,0\n0.5,-5\n")]
    contents = [FrameLabels(values=values).content() for values in (base, *others)]
    assert len({*contents}) == 4
