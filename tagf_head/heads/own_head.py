"""A head of one's own, named by where it lies: `my_package.my_head:MyHead`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from tagf_head.errors import HeadError, UnknownHeadError
from tagf_head.head_config import ResolvedHeadConfig
from tagf_head.heads.head import Head
from tagf_head.heads.own_head_check import check_own_head
from tagf_head.heads.own_head_source import HeadSource, locate_source, require_class, source_digest

_NUM_DIGITS = 12


def is_own_head(name: str) -> bool:
    """Whether a name is that of a head of one's own, `package.module:Class`."""
    return ":" in name


def own_head(name: str) -> Callable[[ResolvedHeadConfig], Head]:
    """What makes the head of a name from settings, and checks it.

    The module is one that Python finds, or one below the current folder.

    Args:
        name: `package.module:Class`.

    Raises:
        UnknownHeadError: There is no such module or class, the module fails, or the class is no `Head`.
    """
    source = locate_source(name)
    found = _imported(source)
    if not (isinstance(found, type) and issubclass(found, Head)):
        raise UnknownHeadError(
            f"head {name!r}: expected a class {source.class_name!r} in {source.file} that derives from "
            f"tagf_head.heads.Head, got {'nothing' if found is None else repr(found)}"
        )
    make: Callable[[ResolvedHeadConfig], Head] = found

    def build(config: ResolvedHeadConfig) -> Head:
        try:
            head = make(config)
        except (Exception, SystemExit) as error:
            raise HeadError(
                f"head {name!r} cannot be made ({_said(error)}); correct its settings, or "
                f"{source.class_name} in {source.file}"
            ) from error
        check_own_head(head, name, config)
        return head

    return build


def own_head_digest(name: str) -> str | None:
    """SHA-256 of the source of a head of one's own (`source_digest`); None for one of the registry.

    Imports the head, so that the digest is that of what then runs.

    Raises:
        UnknownHeadError: The module cannot be imported.
    """
    if not is_own_head(name):
        return None
    source = locate_source(name)
    _imported(source)
    return source_digest(source)


def require_source(name: str, digest: str | None) -> None:
    """Refuse a head of one's own whose source is not that of a digest; nothing of it is imported for that.

    Args:
        name: `package.module:Class`.
        digest: The `own_head_digest` of its training.

    Raises:
        UnknownHeadError: There is no such module.
        HeadError: The source is another one.
    """
    source = locate_source(name)
    found = source_digest(source)
    if found != digest:
        then = "none" if digest is None else digest[:_NUM_DIGITS]
        raise HeadError(
            f"head {name!r}: its source ({source.root}) has changed since training (digest {then} then, "
            f"{found[:_NUM_DIGITS]} now); train again, or restore it"
        )


def _imported(source: HeadSource) -> Any:
    """What the head's module has under the name of its class."""
    if not source.is_loaded:
        require_class(source)
    try:
        module = importlib.import_module(source.module_name)
    except (Exception, SystemExit) as error:
        raise UnknownHeadError(
            f"head {source.name!r}: module {source.module_name!r} ({source.file}) cannot be imported "
            f"({_said(error)}); correct it, or install what it imports"
        ) from error
    source_digest(source)  # taken now: the files may change while the module is in use
    return getattr(module, source.class_name, None)


def _said(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
