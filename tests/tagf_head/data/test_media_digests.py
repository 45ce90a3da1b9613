"""Which media file the features of a clip come from."""

from __future__ import annotations

from pathlib import Path

from cache import FeatureStore
from tagf_head.data.clip_groups import clip_groups
from tagf_head.data.media_digests import media_digests


def test_media_digests_of_a_store(corpus) -> None:
    store = FeatureStore.open(corpus.store)
    digests = media_digests(store, ("t1", "t3_left"))
    assert digests == {clip: store[clip].media_sha256 for clip in ("t1", "t3_left")}
    assert (
        clip_groups(store.clip_ids, subjects={}, media_sha256=media_digests(store, store.clip_ids)).num_groups
        == 9
    )


def test_one_file_of_another_toolkit_is_not_one_video(tmp_path: Path, write_corpus) -> None:
    from cache import FeatureSpec, StreamSpec

    spec = FeatureSpec(
        streams=(
            StreamSpec(name="visual", num_features=16, views=("center", "flip")),
            StreamSpec(name="audio", num_features=8),
        ),
        settings={"imported.visual": "openface"},
    )
    store = FeatureStore.open(write_corpus(tmp_path, spec=spec).store)
    assert media_digests(store, store.clip_ids) == {}
