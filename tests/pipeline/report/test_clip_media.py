"""Which video is whose, and links to it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from pipeline.report.clip_media import link_to, media_of_clip


@pytest.mark.parametrize(
    "name",
    ["plain.mp4", "javascript:alert(1).mp4", "a b#c?d%20.mp4", "ümlaut & <b>.mp4", "'\".mp4", "http:/x.mp4"],
)
def test_a_link_leads_to_the_very_file_whatever_its_name(tmp_path, name):
    media = tmp_path / "videos" / name
    media.parent.mkdir(parents=True)
    for place in (tmp_path / "r.html", tmp_path / "videos" / "r.html", tmp_path / "a" / "b" / "r.html"):
        url = link_to(media, place)
        joined = urlsplit(urljoin(f"file://{place}", url))
        assert joined.scheme == "file"
        assert (joined.query, joined.fragment) == ("", "")
        assert Path(unquote(joined.path)) == media


def test_a_track_plays_the_video_it_was_found_in(tmp_path):
    video = tmp_path / "talk.mp4"
    video.touch()
    media = {"talk": video, "gone": tmp_path / "gone.mp4"}
    assert media_of_clip("talk", media) == video
    assert media_of_clip("talk_track12", media) == video
    assert media_of_clip("talk_tracks", media) is None
    assert media_of_clip("gone", media) is None
