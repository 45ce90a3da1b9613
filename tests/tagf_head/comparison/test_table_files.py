"""The table in words: Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import statistics
from dataclasses import replace

import pytest

from tagf_head.comparison.entry import Entry, folder_name, split_names
from tagf_head.comparison.plot import plot_spec
from tagf_head.comparison.published import PUBLISHED
from tagf_head.comparison.table import AVERAGES, ComparisonRow, ComparisonTable, SeedValues
from tagf_head.comparison.table_files import as_csv, as_latex, as_markdown, latex_text, trials_csv
from tagf_head.evaluation.bootstrap import CccIntervals, Interval
from tagf_head.head_config import HeadConfig
from tagf_head.head_cost import HeadCost
from tagf_head.heads import HEADS


def intervals(estimate: float, *, margin: float = 0.1) -> CccIntervals:
    one = Interval(estimate=estimate, low=estimate - margin, high=estimate + margin)
    return CccIntervals(valence=one, arousal=one, mean=one, num_groups=7)


def row(name: str, *values: float, difference: float | None = None, has_cost: bool = True) -> ComparisonRow:
    cost = HeadCost(
        name=name,
        num_parameters=1234567,
        multiply_adds_per_frame=89000,
        train_windows_per_s=1234.4,
        predict_windows_per_s=9.876,
    )
    return ComparisonRow(
        entry=Entry(name=name, folder=folder_name(name), head=HeadConfig()),
        seeds=tuple(range(len(values))),
        ccc=dict.fromkeys(AVERAGES, SeedValues(values=values)),
        interval=intervals(statistics.fmean(values)),
        difference=None if difference is None else intervals(difference),
        validation=SeedValues(values=values),
        best_epoch=tuple(range(3, 3 + len(values))),
        num_epochs=(9,) * len(values),
        cost=cost if has_cost else None,
        published=PUBLISHED.get(name),
    )


TABLE = ComparisonTable(
    split="test",
    rows=(
        row("hgrjca", 0.5, 0.6, difference=-0.05),
        row("my_head:M&M%", 0.25, difference=0.2, has_cost=False),
        row("concat", 0.55, 0.65),
    ),
    reference="concat",
    num_groups=7,
    unit="subject",
    random_weights=True,
    notes=("A note.",),
)


def test_markdown() -> None:
    lines = as_markdown(TABLE).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:5]]
    first = dict(zip(cells[0], cells[2], strict=True))
    assert first["mean CCC"] == "0.550 ± 0.071"
    assert first["95 % interval"] == "[0.450, 0.650]"
    assert first["mean minus concat"] == "-0.050 [-0.150, +0.050]"
    assert first["parameters"] == "1,234,567"
    assert first["training, windows/s"] == "1,234"
    assert first["prediction, windows/s"] == "9.88"
    assert first["published validation"] == "0.464 / 0.660 / 0.562"
    assert first["published test"] == "0.561 / 0.620 / 0.591"
    second, third = (dict(zip(cells[0], line, strict=True)) for line in cells[3:5])
    assert second["mean CCC"] == "0.250"  # of one seed there is no deviation
    assert second["parameters"] == "n/a"
    assert second["published test"] == ""
    assert third["mean minus concat"] == "reference"
    notes = "\n".join(lines[5:])
    for said in ("not measured here", "0.623 in the abstract", "random weights", "A note.", "7 subjects"):
        assert said in notes


def test_csv_holds_every_number_in_full() -> None:
    first, second, third = csv.DictReader(io.StringIO(as_csv(TABLE).decode()))
    assert float(first["mean_ccc_sd"]) == statistics.stdev([0.5, 0.6])
    assert float(first["mean_ccc_difference_low"]) == pytest.approx(-0.15)
    assert (second["valence_ccc_sd"], second["num_parameters"], second["published_system"]) == ("", "", "")
    assert third["mean_ccc_difference"] == ""
    assert first["published_system"] == "HGRJCA"


def test_trials_are_a_line_each() -> None:
    nan = replace(TABLE, rows=(row("concat", 0.5, math.nan, 0.6), row("tagf", 0.25)))
    lines = [*csv.DictReader(io.StringIO(trials_csv(nan).decode()))]
    assert [(line["head"], line["seed"]) for line in lines] == [
        ("concat", "0"),
        ("concat", "1"),
        ("concat", "2"),
        ("tagf", "0"),
    ]
    assert [line["arousal_ccc"] for line in lines] == ["0.5", "", "0.6", "0.25"]
    assert (lines[2]["best_epoch"], lines[2]["epochs"]) == ("5", "9")


def test_notes_are_lines_of_their_own() -> None:
    table = replace(TABLE, split="validation", notes=("a cost\nof two lines",))
    assert "% a cost of two lines\n" in as_latex(table)
    assert "- a cost of two lines\n" in as_markdown(table)
    assert "chosen on this same split" in as_markdown(table)
    assert "chosen on this same split" not in as_markdown(TABLE)


def test_one_seed_has_no_deviation_to_speak_of() -> None:
    table = replace(TABLE, rows=(row("concat", 0.5), row("tagf", 0.25)), num_groups=1)
    texts = [as_markdown(table), as_latex(table), json.dumps(plot_spec(table))]
    for text in texts:
        assert "seed 0" in text
        assert "deviation" not in text
        assert "mean over seeds" not in text
        assert "1 subjects" not in text


def test_latex_compiles_as_far_as_can_be_seen() -> None:
    text = as_latex(TABLE)
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert r"my\_head:M\&M\%" in body
    assert "$-$0.050" in body
    plain = re.sub(r"\\[\\&%$#_{}]", "", body)  # without what is escaped
    depth = 0
    for letter in plain:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0
    assert depth == 0
    assert plain.count("$") % 2 == 0
    opened, closed = (re.findall(rf"\\{word}{{(\w+\*?)}}", body) for word in ("begin", "end"))
    assert sorted(opened) == sorted(closed)
    labels = re.findall(r"\\label{(.*)}", body)
    tables = body.split(r"\end{table*}")[:-1]
    assert labels == ["tab:comparison", "tab:comparison-costs"]
    for table in tables:
        rows = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert len(rows) == 4
        columns = re.search(r"begin{tabular}{(\w+)}", table)
        assert columns is not None
        assert len(columns[1]) <= 8
        assert {re.sub(r"\\&", "", line).count("&") for line in rows} == {len(columns[1]) - 1}
    assert body.isascii()
    assert latex_text("a\\b~^{}") == r"a\textbackslash{}b\textasciitilde{}\textasciicircum{}\{\}"


def test_plot_has_every_head_target_and_seed() -> None:
    values = plot_spec(TABLE)["data"]["values"]
    assert [(each["head"], each["of"]) for each in values[:3]] == [("hgrjca", name) for name in AVERAGES]
    assert values[0]["seeds"] == [0.5, 0.6]
    assert values[0]["low"] == pytest.approx(0.45)
    assert len(values) == 9


def test_published_figures_are_those_of_heads_and_means_are_means() -> None:
    assert {*PUBLISHED} <= {*HEADS}
    for figures in PUBLISHED.values():
        for valence, arousal, mean in (figures.validation, figures.test):
            assert abs((valence + arousal) / 2 - mean) <= 0.0005 + 1e-9


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("tagf, concat", ("tagf", "concat")),
        ("a.b:C,tagf:causal=true,num_steps=3,concat", ("a.b:C", "tagf:causal=true,num_steps=3", "concat")),
        ("tagf:visual_channels=[8, 8],concat", ("tagf:visual_channels=[8, 8]", "concat")),
        ("a:B:options={width: 8, depth: 2}", ("a:B:options={width: 8, depth: 2}",)),
        ("concat,m.h:H:options={a: 1, b: [2, 3]}", ("concat", "m.h:H:options={a: 1, b: [2, 3]}")),
        ("m.h:H:options={b: [2, 3], a: 1},concat", ("m.h:H:options={b: [2, 3], a: 1}", "concat")),
    ],
)
def test_lists_of_heads(text: str, names: tuple[str, ...]) -> None:
    assert split_names(text) == names


def test_folders_are_safe() -> None:
    assert folder_name("a.b:C") == "a.b-C"
    assert folder_name("../../x") == "x"
    assert len(folder_name("tagf:" + "causal=true," * 40)) < 100
    assert math.isnan(SeedValues(values=(0.5,)).sd)
