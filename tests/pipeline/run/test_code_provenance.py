"""Parts that other code made: which are checked, what is concluded, and what is remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cache.canonical_json import Json
from cache.parts import ClipKey
from pipeline.clip_source import ClipSource
from pipeline.config import ExtractConfig
from pipeline.feature_spec import feature_spec
from pipeline.run.clip_task import ClipTask, MediaState
from pipeline.run.code_provenance import CodeEquivalences, choose_clips, judge_parts

OLD, OLDER, NOW = "0" * 64, "1" * 64, "f" * 64
FINGERPRINT = "0123456789abcdef"


def part(
    name: str, digest: str = OLD, faces: int = 9, sound: int = 9, codec: str = "h264"
) -> tuple[ClipTask, dict[str, Json]]:
    task = ClipTask(
        source=ClipSource(clip_id=name, media=Path(name)),
        key=ClipKey(
            clip_id=name, media_sha256="a" * 64, faces_sha256=None, selection="x", fingerprint=FINGERPRINT
        ),
        media_state=MediaState(num_bytes=1, modified_ns=1),
        config=ExtractConfig(),
        spec=feature_spec(ExtractConfig()),
        device="cpu",
        server=None,
        parts=Path("parts"),
        running=Path("running"),
        code_digest=NOW,
    )
    facts = {
        "code_digest": digest,
        "num_face_frames": faces,
        "num_audio_frames": sound,
        "media": {"codec": codec},
    }
    return task, facts


@pytest.fixture
def equivalences(tmp_path: Path) -> CodeEquivalences:
    return CodeEquivalences(tmp_path / "work" / "code.json")


def comparer(
    differing: Sequence[str], checked: list[str]
) -> Callable[[Sequence[ClipTask]], list[str | None]]:
    def compare(tasks: Sequence[ClipTask]) -> list[str | None]:
        checked.extend(task.source.clip_id for task in tasks)
        return ["audio differs" if task.source.clip_id in differing else None for task in tasks]

    return compare


def test_parts_of_the_present_code_are_not_checked(equivalences: CodeEquivalences) -> None:
    checked: list[str] = []
    assert judge_parts([part("a", NOW)], equivalences, NOW, comparer([], checked)) == []
    assert checked == []


def test_equal_parts_stay_and_the_equivalence_is_remembered(
    equivalences: CodeEquivalences, tmp_path: Path
) -> None:
    checked: list[str] = []
    parts = [part(name) for name in "abcde"]
    (verdict,) = judge_parts(parts, equivalences, NOW, comparer([], checked))
    assert verdict.tasks == ()
    assert verdict.note == (
        "numeric code 00000000 made 5 finished clips, now it is ffffffff: "
        "3 extracted again are equal; all are kept"
    )
    assert len(set(checked)) == 3
    again = CodeEquivalences(tmp_path / "work" / "code.json")
    assert judge_parts(parts, again, NOW, comparer([], checked)) == []
    assert len(checked) == 3
    # Neither the other way round, nor under other settings, nor for other code.
    assert (FINGERPRINT, NOW, OLD) not in again
    assert ("f" * 16, OLD, NOW) not in again
    assert len(judge_parts([part("a", OLDER)], again, NOW, comparer([], checked))) == 1


def test_one_difference_discards_all_parts_of_that_code_and_no_others(equivalences: CodeEquivalences) -> None:
    parts = [part("a"), part("b"), part("c", OLDER), part("d", NOW)]
    old, older = judge_parts(parts, equivalences, NOW, comparer(["b"], []))
    assert [task.source.clip_id for task in old.tasks] == ["a", "b"]
    assert "1 of 2 extracted again differ (clip 'b': audio differs); all are extracted again" in old.note
    assert older.tasks == ()
    assert (FINGERPRINT, OLD, NOW) not in equivalences
    assert (FINGERPRINT, OLDER, NOW) in equivalences


def test_damaged_memory_costs_another_check_only(equivalences: CodeEquivalences, tmp_path: Path) -> None:
    equivalences.add(FINGERPRINT, OLD, NOW)
    equivalences.add(FINGERPRINT, OLDER, NOW)
    assert (FINGERPRINT, OLD, NOW) in equivalences
    for damaged in (b"", b"[]", b'{"fingerprint_old_new": [1]}', b"\xff"):
        (tmp_path / "work" / "code.json").write_bytes(damaged)
        assert (FINGERPRINT, OLD, NOW) not in equivalences
    equivalences.add(FINGERPRINT, OLD, NOW)
    assert (FINGERPRINT, OLD, NOW) in equivalences


def test_clips_that_show_the_most_are_chosen(equivalences: CodeEquivalences) -> None:
    blind = [part(f"blind{number}", faces=0) for number in range(20)]
    parts = [*blind, part("av1", codec="av1"), part("h264")]
    chosen = [task.source.clip_id for task in choose_clips(parts)]
    assert set(chosen[:2]) == {"av1", "h264"}
    assert chosen[2].startswith("blind")
    assert chosen == [task.source.clip_id for task in choose_clips(parts[::-1])], "the order does not matter"


def test_choice_is_spread_over_clips_of_one_kind() -> None:
    def chosen(prefix: str) -> set[str]:
        tasks = choose_clips([part(f"{prefix}{number:02}") for number in range(40)])
        return {task.source.clip_id.removeprefix(prefix) for task in tasks}

    assert len(chosen("a")) == 3
    assert chosen("a") != chosen("b"), "not always the first ones"
