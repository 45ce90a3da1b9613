"""Tables and quantities."""

from __future__ import annotations

import pytest

from pipeline.cli.tables import duration_text, print_facts, print_table, size_text


def test_no_text_is_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    long = "".join(str(number) for number in range(200))
    print_table("t" * 300, ("name", "[bold]what"), [("a", long), ("b", "[red]kept[/red]")])
    out = capsys.readouterr().out
    joined = "".join(out.split())
    assert "t" * 300 in out
    assert long in joined
    assert "[bold]what" in out
    assert "[red]kept[/red]" in out
    assert "\x1b" not in out  # no colours for other programs


def test_facts_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts("title", [("a", "x" * 300), ("longer", "")])
    assert capsys.readouterr().out == f"title\n\n  a       {'x' * 300}\n  longer\n\n"


def test_quantities() -> None:
    sizes = {0: "0 B", 999: "999 B", 1000: "1.0 kB", 1_234_567: "1.2 MB", 5 * 10**18: "5000.0 PB"}
    assert {size: size_text(size) for size in sizes} == sizes
    assert duration_text(12.34) == "12.3 s"
    assert duration_text(5400) == "5400.0 s (1.50 h)"
