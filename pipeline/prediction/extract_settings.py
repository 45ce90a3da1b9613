"""The settings of stage one that a checkpoint's features were made with, from the checkpoint itself.

A checkpoint holds the spec of its features: every setting under a dotted key, weights by their digest. What
it does not say is where the weights lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cache.file_digest import file_digest
from cache.settings import load_section, parse_settings
from cache.spec import IMPORTED_PREFIX, FeatureSpec
from pipeline.backbones.user_backbone import is_own
from pipeline.config import ExtractConfig
from pipeline.errors import ExtractionError, WeightsError
from pipeline.feature_spec import LIBRARIES, feature_spec, library_version, section_of
from pipeline.prediction.clip_rows import center_view
from pipeline.prediction.own_backbone_source import require_own_source
from pipeline.weights.registry import how_to_get, registered_weights, weights_path
from tagf_head.checkpoint import CheckpointInfo
from tagf_head.errors import CheckpointError

#: The streams that heads read, which are the settings' sections, too.
HEAD_STREAMS = ("visual", "audio")
_LIBRARY = "library."
_FURTHER_STREAMS = "streams."
_VIEWS = "visual.views"
_RANDOM, _DIGEST = "random:", "sha256:"
_NUM_DIGITS = 12


def extract_settings(
    info: CheckpointInfo, *, params: Path | None, weights: Mapping[str, str], where: str
) -> ExtractConfig:
    """The `extract` section that gives the features of a checkpoint's training.

    Args:
        info: The checkpoint's description.
        params: A YAML file whose section `extract` is taken instead; it must ask for the same features.
        weights: Stream -> its weights, as the section names them; without it, weights are looked for by
            their digest.
        where: What messages call the checkpoint.

    Returns:
        The section, with no further streams: heads read `visual` and `audio` alone.

    Raises:
        CheckpointError: The features were made by another program.
        WeightsError: Weights that are not at hand.
        ExtractionError: A setting, or the source of a backbone of one's own, is another one than that of the
            features.
        SettingsError: `params` cannot be read, or the checkpoint has a setting that this version has not.
    """
    spec = info.spec
    if imported := [key for key in spec.settings if key.startswith(IMPORTED_PREFIX)]:
        raise CheckpointError(
            f"{where} was trained on features that another program made ({imported[0]}: "
            f"{spec.settings[imported[0]]!r}), which cannot be made of media here; import what that program "
            "makes of the media, and give it with --features"
        )
    if unknown := [stream for stream in weights if stream not in HEAD_STREAMS]:
        raise WeightsError(
            f"weights of stream {unknown[0]!r}: heads read {' and '.join(HEAD_STREAMS)}; give for example "
            "visual=FILE"
        )
    if params is not None:
        config = replace(load_section(params, "extract", ExtractConfig), streams={})
    else:
        for stream in HEAD_STREAMS:
            require_own_source(spec, stream, where=where)
        config = parse_settings(ExtractConfig, _section(spec, weights, where), where=where, section="extract")
    for stream, named in weights.items():
        section = replace(getattr(config, stream), weights=named)
        config = replace(config, **{stream: section})
    _require_same(spec, config, where=where, asked_by=str(params) if params is not None else "what was given")
    return config


def read_by_heads(config: ExtractConfig) -> ExtractConfig:
    """The section without what heads do not read: further streams, and views other than evaluation's."""
    views = config.visual.views
    center = replace(config.visual, views=(views[center_view(views)],))
    return replace(config, visual=center, streams={})


def library_note(spec: FeatureSpec, *, where: str) -> str | None:
    """One line where the features were made with other versions of the computing libraries; None if not."""
    others = [
        f"{library} {spec.settings[_LIBRARY + library]} (here {library_version(library)})"
        for library in LIBRARIES
        if spec.settings.get(_LIBRARY + library, library_version(library)) != library_version(library)
    ]
    if not others:
        return None
    return (
        f"{where}: its features were made with {', '.join(others)}; predictions may differ from those of a "
        "store in the last digits"
    )


def _section(spec: FeatureSpec, weights: Mapping[str, str], where: str) -> dict[str, Any]:
    """Settings of the spec as the section has them, without further streams."""

    def weights_of(stream: str) -> str:
        if stream not in HEAD_STREAMS:
            return ""
        own = is_own(str(spec.settings.get(f"{stream}.backbone", "")))
        digest = str(spec.settings[f"{stream}.weights"])
        return weights.get(stream) or _weights(stream, digest, where, own=own)

    section = section_of(spec, weights_of)
    section.pop("streams", None)
    return section


def _weights(stream: str, digest: str, where: str, *, own: bool) -> str:
    """The `weights` setting for what the spec says of them."""
    if digest.startswith(_RANDOM) and not own:
        return digest.partition("/")[0]
    if not digest.startswith(_DIGEST):
        return digest  # what a backbone of one's own takes
    sha256 = digest.removeprefix(_DIGEST)
    remedy = ""
    if (registered := registered_weights(sha256)) is not None:
        path = weights_path(registered)
        if path.is_file() and file_digest(path) == sha256:
            return registered.name
        remedy = f"; they are {registered.name}: {how_to_get(registered)}"
    raise WeightsError(
        f"{where}: the {stream} weights of its features (SHA-256 {sha256[:_NUM_DIGITS]}...) are not at hand"
        + (remedy or f"; give their file with --weights {stream}=FILE, or --params with the path in it")
    )


def _require_same(spec: FeatureSpec, config: ExtractConfig, *, where: str, asked_by: str) -> None:
    """Refuse settings that give other features; other versions of libraries pass."""
    given = _read_by_heads(feature_spec(config))
    if different := _read_by_heads(spec).differences(given, here="in training", there="now"):
        more = f" (and {len(different) - 1} more)" if len(different) > 1 else ""
        raise ExtractionError(
            f"{where}: expected the settings that its features were made with, but {asked_by} gives others: "
            f"{different[0]}{more}; give the params.yaml and the weights of its training, or leave --params "
            "and --weights out"
        )


def _read_by_heads(spec: FeatureSpec) -> FeatureSpec:
    """The part of a spec that says what heads read, without the libraries' versions."""
    streams = []
    for stream in spec.streams:
        if stream.name in HEAD_STREAMS:
            read = stream.views and (stream.views[center_view(stream.views)],)
            streams.append(replace(stream, views=read))
    settings = {
        key: value
        for key, value in spec.settings.items()
        if not key.startswith((_LIBRARY, _FURTHER_STREAMS)) and key != _VIEWS
    }
    return FeatureSpec(streams=tuple(streams), settings=settings)
