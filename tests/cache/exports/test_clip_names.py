"""Names of files for clips of any name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cache.exports.clip_names import clip_names

ids = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=("Cs",)), min_size=1), st.text("aA.~/%\0", min_size=1)
    ),
    unique=True,
)


@given(clip_ids=ids)
def test_names_differ_and_are_safe(clip_ids: list[str]) -> None:
    names = clip_names(clip_ids)
    assert len({name.lower() for name in names}) == len(clip_ids)
    for name in names:
        assert name.isascii()
        assert name.isprintable()
        assert not set(name) & set('/\\:*?"<>| \0')
        assert not name.startswith(".")
        assert 0 < len(name) <= 200


def test_ordinary_names_stay_and_others_can_be_read() -> None:
    assert clip_names(["a-1.2_b", "a/b", "..", "ü", "A"]) == ["a-1.2_b", "a%2Fb", "%2E.", "%C3%BC", "A"]


def test_names_that_differ_in_case_alone_or_are_too_long() -> None:
    first, second = clip_names(["a", "A"])
    assert first == "a"
    assert second.startswith("A~")
    one, other = clip_names(["x" * 300, "x" * 301])
    assert one != other


def test_an_id_that_looks_like_the_name_of_another() -> None:
    _, name = clip_names(["a", "A"])
    assert len({*clip_names(["a", name, "A"])}) == 3
