"""The page as one file: markup, styles, scripts and data, under a content-security policy.

Everything that comes from a run passes through Jinja's escaping, or lies as JSON in a script element whose
type no browser runs, with `<`, `>` and `&` written as escapes of JSON. Scripts are allowed by their digests
alone, so that nothing that slipped through could run either.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from pipeline.report.number_text import fixed, share, signed

_PACKAGE, _FOLDER = "pipeline.report", "page_files"
# In the order in which they build on each other.
_SCRIPTS = (
    "data.js",
    "theme.js",
    "plots.js",
    "table.js",
    "circumplex.js",
    "traces.js",
    "gates.js",
    "player.js",
    "curves.js",
    "start.js",
)
# Of nothing: plotly adds empty style elements and fills them rule by rule.
_EMPTY_STYLE = ""
# The one style that plotly does add as text, of its maps, is left out where an element of its id stands.
_MAP_STYLE = re.compile(r'document\.getElementById\("([0-9a-f]{64})"\)')
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def render_page(
    template_values: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    embedded: Sequence[tuple[int, str, bytes]] = (),
    links_videos: bool,
) -> bytes:
    """The page.

    Args:
        template_values: What the template names.
        data: What the scripts draw.
        embedded: Videos inside the page: clip's number, MIME type, content.
        links_videos: Whether the page plays files that lie elsewhere on this machine or beside it.
    """
    scripts = [_plotly(), _script()]
    style = _resource("report.css")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.lstrip_blocks = True
    environment.filters |= {"fixed": fixed, "share": share, "signed": signed}
    template = environment.from_string(_resource("report.html"))
    html = template.render(
        **template_values,
        policy=_policy(scripts, style, links_videos=links_videos),
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        taken_ids=_MAP_STYLE.findall(_plotly()),
        data=Markup(json_for_script(data)),
        videos=[
            {"index": index, "type": kind, "base64": Markup(base64.b64encode(content).decode())}
            for index, kind, content in embedded
        ],
    )
    # Names of files may hold bytes that are no text.
    return html.encode("utf-8", errors="replace")


def json_for_script(value: Any) -> str:
    """JSON that cannot end the script element it stands in; what is not finite becomes null.

    >>> "</script>" in json_for_script({"name": "</script>"})
    False
    """
    # ASCII, so that line separators of Unicode and lone surrogates are escaped, too.
    text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for sign, escape in _ESCAPES.items():
        text = text.replace(sign, escape)
    return text


def _policy(scripts: Sequence[str], style: str, *, links_videos: bool) -> str:
    hashes = " ".join(_hash(script) for script in scripts)
    # In a page from disk, 'self' stands for nothing in some browsers, and file: does.
    media = "data: blob: 'self' file:" if links_videos else "data: blob:"
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {hashes}",
            # The first is for browsers that do not know the other two.
            "style-src 'unsafe-inline'",
            f"style-src-elem {_hash(style)} {_hash(_EMPTY_STYLE)}",
            "style-src-attr 'unsafe-inline'",
            "img-src data: blob:",
            f"media-src {media}",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _resource(name: str) -> str:
    return files(_PACKAGE).joinpath(_FOLDER, name).read_text(encoding="utf-8")


@cache
def _script() -> str:
    parts = "\n".join(_resource(name) for name in _SCRIPTS)
    return f'(function () {{\n"use strict";\n{parts}\n}})();\n'


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    # A closing tag inside the library would end the element early.
    return str(get_plotlyjs()).replace("</script", "<\\/script")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
