"""Names of files in source folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.layouts.folders import face_image_number, is_media


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("00001.jpg", 1),
        ("00120.jpg", 120),
        ("99999.jpg", 99_999),
        ("100000.jpg", 100_000),
        ("00000.jpg", None),  # there is no frame before the first
        ("000001.jpg", None),  # that frame's name is 00001.jpg
        ("0001.jpg", None),
        ("00001.JPG", None),
        ("00001.jpg.tmp", None),
        ("x00001.jpg", None),
        ("00001.png", None),
        ("\u0660\u0660\u0660\u0660\u0661.jpg", None),  # Arabic digits
        ("00001.jpg\n", None),
    ],
)
def test_names_of_face_images_are_those_that_extraction_reads(name: str, number: int | None) -> None:
    assert face_image_number(name) == number
    if number is not None:
        assert name == f"{number:05d}.jpg"


def test_media_are_told_by_their_suffix_alone() -> None:
    names = ["a.mp4", "a.MP4", "a.b.Avi", "mp4", ".mp4", "a.mp4.txt", "a.m3u8", "a.txt"]
    assert [name for name in names if is_media(Path(name))] == ["a.mp4", "a.MP4", "a.b.Avi"]
