"""The digest of the numeric code: stable, and different for every change in it."""

from __future__ import annotations

import importlib.util

import grimp
import pytest

from pipeline.run.numeric_code import NUMERIC_MODULES, code_digest, digest_sources

SOURCES = {"pipeline.a": b"x = 1\n", "pipeline.b": b"y = 2\n"}


def test_digest_is_sha256_of_names_lengths_and_sources() -> None:
    # sha256sum of "pipeline.a 6\nx = 1\npipeline.b 6\ny = 2\n"
    expected = "d64d872c63b57fbce02cce4d85291694a969744a6494ff407f9cfa0edf818c28"
    assert digest_sources(SOURCES) == expected


@pytest.mark.parametrize(
    "changed",
    [
        {"pipeline.a": b"x = 3\n", "pipeline.b": b"y = 2\n"},
        {"pipeline.a": b"x = 1\n", "pipeline.c": b"y = 2\n"},
        {"pipeline.a": b"x = 1\n"},
        {"pipeline.a": b"", "pipeline.b": b"x = 1\ny = 2\n"},
        {"pipeline.a": b"y = 2\n", "pipeline.b": b"x = 1\n"},
    ],
)
def test_any_change_changes_the_digest(changed: dict[str, bytes]) -> None:
    assert digest_sources(changed) != digest_sources(SOURCES)


def test_order_and_line_ends_do_not_count() -> None:
    assert digest_sources(dict(reversed(SOURCES.items()))) == digest_sources(SOURCES)
    windows = {name: source.replace(b"\n", b"\r\n") for name, source in SOURCES.items()}
    assert digest_sources(windows) == digest_sources(SOURCES)


def test_listed_modules_exist() -> None:
    for name in NUMERIC_MODULES:
        assert importlib.util.find_spec(name) is not None, name
    assert len(code_digest()) == 64


def test_everything_that_the_extraction_of_a_clip_imports_is_listed_or_known_to_make_no_numbers() -> None:
    graph = grimp.build_graph("pipeline", "cache", cache_dir=None)
    imported = graph.find_upstream_modules("pipeline.extract") | {"pipeline.extract"}
    bystanders = {
        "pipeline.clip_source",
        "pipeline.config",
        "pipeline.errors",
        "pipeline.feature_spec",
        "pipeline.media.memory",
        "pipeline.stage_clock",
        "pipeline.weights.registry",
    }
    assert {name for name in imported if name.startswith("pipeline.")} - bystanders == set(NUMERIC_MODULES)
