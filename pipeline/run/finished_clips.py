"""Which clips of a source an extraction would find finished, without reading their media."""

from __future__ import annotations

from pathlib import Path

from pipeline.clip_source import ClipSource
from pipeline.config import ExtractConfig
from pipeline.feature_spec import clip_streams, feature_spec
from pipeline.run.clip_keys import clip_key, gives_tracks
from pipeline.run.work_dir import WorkDir


class FinishedClips:
    """Tells whether a clip's part is in a work directory.

    Args:
        config: The `extract` section.
        work_dir: The work directory; None for the default one.

    Raises:
        WeightsError: Weights that do not exist.
    """

    def __init__(self, config: ExtractConfig, work_dir: Path | None = None) -> None:
        self._config = config
        self._work = WorkDir(work_dir)
        self._digests = self._work.media_digests()
        self._streams = clip_streams(config)
        self._fingerprint = feature_spec(config).fingerprint
        folder = self._work.parts.directory / self._fingerprint
        self._are_any = any(path.name != "spec.json" for path in folder.glob("*"))

    def __call__(self, clip: ClipSource) -> bool | None:
        """Whether it is; None where its media have to be read to tell: they never were, or have changed."""
        if not self._are_any:
            return False
        digests = self._digests.remembered(clip)
        if digests is None:
            return None
        try:
            key = clip_key(clip, digests, self._config, self._streams, self._fingerprint)
        except OSError:
            return False
        return self._work.part_keys(key, gives_tracks=gives_tracks(clip, self._config)) is not None
