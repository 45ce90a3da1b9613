"""Shares, seconds and rising times, gathered chunk by chunk, against a loop over each clip."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cache.verify.report import Findings
from cache.verify.row_summaries import RowSummaries

row = st.tuples(st.integers(-1, 3), st.booleans(), st.booleans())


@given(clips=st.lists(st.lists(row, max_size=7), max_size=5), chunk_rows=st.integers(1, 9))
def test_any_clips_in_any_chunks(clips: list[list[tuple[int, bool, bool]]], chunk_rows: int) -> None:
    times, faces, sounds = [], [], []
    wanted_share, wanted_s, falls, first = [], [], [], 0
    for clip in clips:
        time_s = np.cumsum([step for step, _, _ in clip]) / 4.0
        gaps = [b - a for a, b in pairwise(time_s)]
        falls += [first + index + 1 for index, gap in enumerate(gaps) if gap <= 0]
        lasting = [*gaps, gaps[-1]] if gaps else [0.0] * len(clip)
        wanted_s.append(sum(gap for gap, (_, _, sound) in zip(lasting, clip, strict=True) if sound))
        wanted_share.append(sum(face for _, face, _ in clip) / len(clip) if clip else 0.0)
        times += list(time_s)
        faces += [face for _, face, _ in clip]
        sounds += [sound for _, _, sound in clip]
        first += len(clip)
    findings = Findings()
    summaries = RowSummaries(np.array([len(clip) for clip in clips], np.int64))
    for start in range(0, len(times), chunk_rows):
        rows = slice(start, start + chunk_rows)
        summaries.add(
            start,
            len(times[rows]),
            findings,
            time_s=np.array(times[rows]),
            face_found=np.array(faces[rows], np.bool_),
            audio_found=np.array(sounds[rows], np.bool_),
        )
    assert summaries.face_share.tolist() == wanted_share
    assert summaries.audio_s.tolist() == wanted_s  # quarters add up exactly
    assert [problem.rows for problem in findings.problems] == [(fall, fall + 1) for fall in falls]
    assert summaries.audio_known.all()


def test_what_could_not_be_read_is_not_known() -> None:
    # Clips of 3, 0, 4 and 2 rows in chunks of 3.
    summaries = RowSummaries(np.array([3, 0, 4, 2]))
    marks = np.ones(3, np.bool_)
    times = np.array([0.0, 1.0, 2.0])
    findings = Findings()
    summaries.add(0, 3, findings, time_s=times, face_found=marks, audio_found=marks)
    summaries.add(3, 3, findings, time_s=None, face_found=None, audio_found=marks)
    summaries.add(6, 3, findings, time_s=times, face_found=marks, audio_found=marks)
    assert not findings.problems
    assert summaries.face_known.tolist() == [True, True, False, True]
    assert summaries.audio_known.tolist() == [True, True, False, True]
    assert summaries.audio_s[[0, 3]].tolist() == [3.0, 2.0]
