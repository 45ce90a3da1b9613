"""Which media file the features of a clip come from."""

from __future__ import annotations

from collections.abc import Sequence

from cache import FeatureStore
from cache.spec import IMPORTED_PREFIX


def media_digests(store: FeatureStore, clip_ids: Sequence[str]) -> dict[str, str]:
    """SHA-256 of each clip's media file, by clip id.

    Empty for features that another toolkit made: their digests are those of its files, and one file may hold
    all clips.
    """
    if any(name.startswith(IMPORTED_PREFIX) for name in store.spec.settings):
        return {}
    return {clip_id: store[clip_id].media_sha256 for clip_id in clip_ids}
