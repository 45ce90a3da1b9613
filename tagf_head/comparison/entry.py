"""What stands in a comparison: heads by name, each with settings of its own if wanted.

    tagf                                    a head of the registry
    tagf:causal=true,num_steps=3            the same with settings in place of those of params.yaml
    my_package.my_head:MyHead               a head of one's own
    my_package.my_head:MyHead:options={width: 8}

Several are separated by commas; what follows a comma and is a setting belongs to the head before it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import yaml

from cache.settings import parse_settings, to_mapping
from tagf_head.comparison.config import ALL_HEADS
from tagf_head.config import TrainConfig
from tagf_head.errors import HeadError, UnknownHeadError
from tagf_head.head_config import HeadConfig
from tagf_head.head_presets import PRESETS
from tagf_head.heads import HEADS, build_head

_SETTING = re.compile(r"\s*[a-z_]+\s*=")
_BEFORE_SETTINGS = re.compile(r":(?=\s*[a-z_]+\s*=)")
_BRACKET = re.compile(r"[\[{]")
# What a folder's name is made of on every system.
_UNSAFE = re.compile(r"[^A-Za-z0-9_.+-]+")
_LONGEST_FOLDER = 80
_NUM_DIGITS = 8


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One head in a comparison.

    Attributes:
        name: What it is called: as it was given.
        folder: Name of its folder.
        head: Its settings.
    """

    name: str
    folder: str
    head: HeadConfig


def split_names(text: str) -> tuple[str, ...]:
    """The heads of a list separated by commas.

    >>> split_names("tagf,tagf:causal=true,num_steps=3,concat")
    ('tagf', 'tagf:causal=true,num_steps=3', 'concat')
    """
    names: list[str] = []
    for part in _split_at_commas(text):
        if names and _SETTING.match(part):
            names[-1] += f",{part.strip()}"
        else:
            names.append(part.strip())
    return tuple(names)


def expanded(names: Sequence[str]) -> tuple[str, ...]:
    """The names, with those of the registry in place of `all`."""
    return tuple(each for name in names for each in (HEADS if name == ALL_HEADS else (name,)))


def parse_entries(names: Sequence[str], config: TrainConfig) -> tuple[Entry, ...]:
    """The heads of a comparison, each of which can be made.

    Args:
        names: As above; `all` stands for those of the registry.
        config: Training of all of them, with the settings that heads share.

    Raises:
        HeadError: A head or a setting is unknown, a head cannot be made with these settings, or one is given
            twice.
    """
    unknown: list[str] = []
    entries: list[Entry] = []
    for name in expanded(names):
        entry = Entry(name=name, folder=folder_name(name), head=_settings(name, config.head))
        try:
            _try_out(entry, config)
        except UnknownHeadError as error:
            unknown.append(str(error))
            continue
        for other in entries:
            if other.folder == entry.folder:
                raise HeadError(
                    f"head {name!r} is in the comparison twice"
                    + (f" (as {other.name!r}, with the same folder)" if other.name != name else "")
                    + "; leave one out"
                )
        entries.append(entry)
    if unknown:
        raise UnknownHeadError("; ".join(unknown))
    return tuple(entries)


def folder_name(name: str) -> str:
    """A folder's name for a head.

    >>> folder_name("my_package.my_head:MyHead")
    'my_package.my_head-MyHead'
    """
    safe = _UNSAFE.sub("-", name).strip("-.")
    if len(safe) <= _LONGEST_FOLDER and safe:
        return safe
    return f"{safe[:_LONGEST_FOLDER]}-{hashlib.sha256(name.encode()).hexdigest()[:_NUM_DIGITS]}"


def _split_at_commas(text: str) -> list[str]:
    """Parts between commas that no bracket encloses: settings may be lists and mappings."""
    parts, depth = [""], 0
    for letter in text:
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _settings(name: str, shared: HeadConfig) -> HeadConfig:
    """The shared settings, with those that follow a head's name in their place."""
    # A head of one's own has a colon in its name, which no setting follows.
    head, *rest = _BEFORE_SETTINGS.split(name, maxsplit=1)
    changes = rest[0] if rest else ""
    own: dict[str, object] = {}
    for change in _split_at_commas(changes) if changes else ():
        key, equals, value = change.partition("=")
        if not equals:
            raise HeadError(f"head {name!r}: expected SETTING=VALUE, got {change!r}")
        if not _BRACKET.search(value) and _BEFORE_SETTINGS.search(value):
            raise HeadError(
                f"head {name!r}: expected settings separated by commas, got {change!r}; write "
                f"{_BEFORE_SETTINGS.sub(',', change)!r}"
            )
        try:
            own[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise HeadError(
                f"head {name!r}: the value of {key.strip()} is not valid YAML, got {value!r}"
            ) from error
    settings = to_mapping(shared) | {"name": head}
    if head in PRESETS:
        # Those in params.yaml are meant for a head of one's own beside which it stands.
        settings["options"] = {}
    return parse_settings(HeadConfig, settings | own, where=f"head {name!r}")


def _try_out(entry: Entry, config: TrainConfig) -> None:
    """Make the head once, so that what is wrong with it is said before hours of training."""
    try:
        settings = replace(config, head=entry.head)
        with torch.random.fork_rng(devices=[]):
            build_head(settings.head)
    except HeadError:
        raise
    except Exception as error:
        raise HeadError(
            f"head {entry.name!r} cannot be made: {error}; change its settings, or leave it out"
        ) from error
