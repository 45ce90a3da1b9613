"""The settings of a shared model: a file that `--params` takes, for the same features and training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from cache import FeatureSpec
from cache.errors import SettingsError
from cache.settings import parse_settings, to_mapping
from pipeline.config import ExtractConfig
from pipeline.feature_spec import section_of
from pipeline.model_sharing.backbone_weights import backbone_weights
from tagf_head.checkpoint import CheckpointInfo


def settings_file(info: CheckpointInfo) -> bytes:
    """Sections `extract` and `train`, as far as the checkpoint knows them, in YAML.

    What the fingerprint leaves out (limits, batch size) is left to its defaults.
    """
    extract = extract_section(info.spec)
    comments = [*_comments(info.spec, has_section=extract is not None)]
    sections: dict[str, object] = {} if extract is None else {"extract": extract}
    sections["train"] = to_mapping(info.train)
    document = yaml.safe_dump(sections, sort_keys=False, allow_unicode=True)
    return ("".join(f"# {line}\n" for line in comments) + document).encode()


def extract_section(spec: FeatureSpec) -> dict[str, Any] | None:
    """The section `extract` that asks for such features; None where `tagf extract` did not make them."""
    weights = {each.stream: each.setting for each in backbone_weights(spec)}
    try:
        section = section_of(spec, lambda stream: weights.get(stream, ""))
        parse_settings(ExtractConfig, section, where="the checkpoint's features", section="extract")
    except SettingsError:
        return None
    return section if "backbone" in section.get("visual", {}) else None


def _comments(spec: FeatureSpec, *, has_section: bool) -> Iterator[str]:
    yield "Settings of the features and of the training of model.safetensors, for --params."
    if not has_section:
        yield "There is no section 'extract', since 'tagf extract' did not make the features."
        return
    for each in backbone_weights(spec):
        if each.is_file and each.registered is None:
            yield (
                f"The weights of stream '{each.stream}' are a file of your own: name the one with "
                f"{each.digest.replace(':', ' ')} instead of {each.setting}."
            )
