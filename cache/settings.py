"""Settings from YAML into frozen dataclasses, with errors that name the key.

pydantic checks and converts the values (in its lax mode: YAML 1.1 reads ``1e-4`` as a string). Three things
that pydantic lets pass for plain dataclasses are refused here before it looks: a key that is no setting, a
boolean for a number, and a number that is not finite.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from cache.errors import SettingsError
from cache.suggestion import closest, did_you_mean, listed

T = TypeVar("T")

# Likeness of two names: where one of them must be wrong, and where the other may be meant as it is.
_CLOSE = 0.6
_MISSPELT = 0.75
# A head has thirty settings, which no message should list.
_MOST_NAMES = 10
_UNKNOWN = " is not a setting"


def load_section(path: Path, section: str, cls: type[T], default: T | None = None) -> T:
    """One section of a YAML file as a dataclass.

    Args:
        path: The YAML file, for example ``params.yaml``.
        section: Top-level key, for example ``train``.
        cls: A frozen dataclass, possibly of further dataclasses.
        default: What holds where the file has no such section, nor one of nearly that name; without it, that
            is an error.

    Raises:
        SettingsError: The file, the section or a value in it is missing, misspelt or impossible.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"{path}: cannot read the settings: {reason}") from error
    try:
        document = yaml.load(text, Loader=_UniqueKeyLoader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{path}: expected a mapping of sections, got {_shown(document)}")
    if section not in document:
        sections = ", ".join(str(name) for name in document)
        cutoff = _CLOSE if default is None else _MISSPELT
        close = closest(section, map(str, document), cutoff=cutoff)
        if default is not None and close is None:
            return default
        hint = "" if close is None else f"; is {close!r} misspelt?"
        raise SettingsError(f"{path}: section {section!r} is missing{hint} (sections: {sections})")
    return parse_settings(cls, document[section], where=str(path), section=section)


def parse_settings(cls: type[T], mapping: Mapping[str, object], *, where: str, section: str = "") -> T:
    """A dataclass from a mapping of its settings; settings left out keep their defaults.

    Args:
        cls: A frozen dataclass, possibly of further dataclasses.
        mapping: Settings by name.
        where: What the settings were read from, for messages, for example ``params.yaml``.
        section: Dotted key of `mapping` within `where`, for messages.

    Raises:
        SettingsError: One line with the full dotted key, what was expected and what was given.
    """
    if not isinstance(mapping, Mapping):
        key = section or "settings"
        raise SettingsError(f"{where}: {key}: expected a mapping of settings, got {_shown(mapping)}")
    problems = list(_walk(cls, mapping, (section,) if section else (), (cls, section)))
    if not problems:
        try:
            return TypeAdapter(cls).validate_python(mapping)
        except ValidationError as error:
            problems = [_explain(details, section, cls) for details in error.errors()]
    keys = list(dict.fromkeys(key for key, _ in problems))
    more = f" (and {len(keys) - 1} more: {', '.join(keys[1:])})" if len(keys) > 1 else ""
    key, problem = problems[0]
    is_unknown = problem.startswith(_UNKNOWN) and not problem.startswith(f"{_UNKNOWN};")
    unknown = key.rpartition(".")[2] if is_unknown else None
    raise SettingsError(f"{where}: {key}{problem}{more}", unknown=unknown)


def to_mapping(instance: object) -> dict[str, object]:
    """Plain values for YAML or JSON, the inverse of `parse_settings`; tuples become lists."""
    if not dataclasses.is_dataclass(instance) or isinstance(instance, type):
        raise TypeError(f"expected an instance of a dataclass, got {instance!r}")
    return {field.name: _plain(getattr(instance, field.name)) for field in dataclasses.fields(instance)}


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_mapping(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _walk(
    annotation: Any, value: object, path: tuple[str, ...], root: tuple[type, str]
) -> Iterator[tuple[str, str]]:
    """Problems that pydantic would let pass, as (dotted key, rest of the message)."""
    if get_origin(annotation) in (Union, types.UnionType):
        choices = get_args(annotation)
        if isinstance(value, bool) and bool in choices:
            return
        for choice in choices:
            if dataclasses.is_dataclass(choice) == isinstance(value, Mapping):
                yield from _walk(choice, value, path, root)
    elif dataclasses.is_dataclass(annotation) and isinstance(annotation, type) and isinstance(value, Mapping):
        hints = get_type_hints(annotation)
        names = [field.name for field in dataclasses.fields(annotation) if field.init]
        for key, item in value.items():
            if key in names:
                yield from _walk(hints[key], item, (*path, key), root)
            else:
                hint = _suggestion(str(key), names, root)
                known = listed(names, near=str(key), at_most=_MOST_NAMES)
                names_them = not hint or len(names) <= _MOST_NAMES
                yield (
                    ".".join((*path, str(key))),
                    f"{_UNKNOWN}{hint}{f' (settings: {known})' if names_them else ''}",
                )
    elif get_origin(annotation) in (Mapping, dict) and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(get_args(annotation)[1], item, (*path, str(key)), root)
    elif get_origin(annotation) in (tuple, list) and isinstance(value, (tuple, list)):
        arguments = get_args(annotation)
        for index, item in enumerate(value):
            same = get_origin(annotation) is list or arguments[-1] is Ellipsis
            if same or index < len(arguments):
                yield from _walk(arguments[0 if same else index], item, (*path, str(index)), root)
    elif annotation in (int, float) and isinstance(value, bool):
        yield ".".join(path), f": expected {'an integer' if annotation is int else 'a number'}, got {value}"
    elif annotation is float and not _is_finite(value):
        yield ".".join(path), f": expected a finite number, got {_shown(value)}"


def _is_finite(value: object) -> bool:
    """False for what would become a number that is not finite; what is no number is pydantic's to refuse."""
    try:
        return math.isfinite(float(value))  # type: ignore[arg-type]
    except OverflowError:
        return False
    except (TypeError, ValueError):
        return True


def _explain(details: Mapping[str, Any], section: str, cls: type) -> tuple[str, str]:
    """One of pydantic's errors as (dotted key, rest of the message)."""
    location = tuple(str(part) for part in details["loc"])
    key = ".".join((section, *location) if section else location)
    got = _shown(details["input"])
    if details["type"] == "value_error":
        # Raised by a dataclass's own check. Its message opens with the field's name if it is about one field.
        message = " ".join(str(details["ctx"]["error"]).split())
        field = message.split(maxsplit=1)[0] if message else ""
        if field in _field_names(cls, location):
            return (f"{key}.{field}" if key else field), message.removeprefix(field)
        return (key or "settings"), f": {message}"
    if details["type"] == "missing":
        return key, " is missing"
    if details["type"] == "dataclass_type":
        return key, f": expected a mapping of settings, got {got}"
    expected = re.sub(r", (unable to|got) .*", "", str(details["msg"]).removeprefix("Input should be "))
    expected = expected.replace("a valid tuple", "a list").replace("a valid integer", "an integer")
    expected = expected.replace("a valid ", "a ")
    if details["type"] == "literal_error":
        choices = [choice.strip("'") for choice in expected.replace(" or ", ", ").split(", ")]
        return key, f": expected {expected}, got {got}{did_you_mean(str(details['input']), choices)}"
    return key, f": expected {expected}, got {got}"


def _field_names(cls: type, location: tuple[str, ...]) -> list[str]:
    """Names of the fields of the dataclass at a location below `cls`; empty where there is none."""
    current: Any = cls
    for part in location:
        if get_origin(current) in (Mapping, dict):
            current = get_args(current)[1]
        else:
            current = get_type_hints(current).get(part) if dataclasses.is_dataclass(current) else None
    return [field.name for field in dataclasses.fields(current)] if dataclasses.is_dataclass(current) else []


def _suggestion(key: str, names: list[str], root: tuple[type, str]) -> str:
    """``; did you mean …?`` for a key close to one of `names`, or that the section has elsewhere."""
    if hint := did_you_mean(key, names):
        return hint
    cls, section = root
    for path in setting_paths(cls, f"{section}." if section else ""):
        if path.rpartition(".")[2] == key:
            return f"; did you mean {path!r}?"
    return ""


def setting_paths(cls: type, prefix: str = "") -> Iterator[str]:
    """Dotted paths of all settings below a dataclass, each with `prefix` before it."""
    hints = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from setting_paths(hint, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def _shown(value: object) -> str:
    """A value as the user wrote it, shortened, on one line."""
    if value is None:
        return "nothing"
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, where plain YAML loading keeps the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<` may be overridden, that is its use
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"key {key!r} is given twice", problem_mark=key_node.start_mark
                )
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)
