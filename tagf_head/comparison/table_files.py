"""The table of a comparison as Markdown, CSV and LaTeX."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from tagf_head.comparison.published import SOURCE, PublishedFigures
from tagf_head.comparison.table import AVERAGES, ComparisonRow, ComparisonTable, SeedValues
from tagf_head.data.clip_groups import counted
from tagf_head.evaluation.bootstrap import Interval
from tagf_head.evaluation.markdown import markdown_table
from tagf_head.evaluation.results import RANDOM_WEIGHTS_NOTE, shown_bounds, shown_interval
from tagf_head.run_folder import csv_bytes

_NOT_KNOWN = "n/a"
_HEADING_WIDTH = 14  # letters
_OUT_OF_FOLD = "out of fold (every labelled clip by the head that has not seen it)"

# Heading -> what stands below it.
_Columns: TypeAlias = dict[str, Callable[[ComparisonRow], str]]

_HEAD: _Columns = {"head": lambda row: row.entry.name}

_NEGATIVE = re.compile(r"(?<![\w.])-(?=\d)")

# What LaTeX takes for a command.
_LATEX = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def as_markdown(table: ComparisonTable) -> str:
    """The table with its notes."""
    columns = _result_columns(table) | _cost_columns(table)
    lines = [[*columns], *([shown(row) for shown in columns.values()] for row in table.rows)]
    notes = "".join(f"- {note}\n" for note in _notes(table))
    return f"{markdown_table(lines)}\n{notes}"


def as_latex(table: ComparisonTable) -> str:
    r"""Two `table*` for a document that loads `booktabs`: results, and costs beside what is published.

    The notes are comments above them.
    """
    results, costs = _result_columns(table), _cost_columns(table)
    caption = (
        f"CCC on {_split(table)}, {_seeds(table)}; in brackets 95 % bootstrap intervals over "
        f"{counted(table.num_groups, table.unit)}."
    )
    of_costs = (
        "Costs of the heads. Columns marked as published are CCCs of valence / arousal / mean from "
        f"{SOURCE}, and were not measured here."
    )
    lines = [
        r"% needs \usepackage{booktabs}",
        *(f"% {note}" for note in _notes(table)),
        *_latex_table(table, results, caption, "tab:comparison"),
        "",
        *_latex_table(table, _HEAD | costs, of_costs, "tab:comparison-costs"),
    ]
    return "\n".join(lines) + "\n"


def trials_csv(table: ComparisonTable) -> bytes:
    """One line per trial; an empty cell where there is no number."""
    header = (
        "head",
        "folder",
        "seed",
        "split",
        *(f"{name}_ccc" for name in AVERAGES),
        "validation_mean_ccc",
        "best_epoch",
        "epochs",
    )
    lines = [
        (
            row.entry.name,
            row.entry.folder,
            seed,
            table.split,
            *(_cell(row.ccc[name].values[index]) for name in AVERAGES),
            _cell(row.validation.values[index]),
            row.best_epoch[index],
            row.num_epochs[index],
        )
        for row in table.rows
        for index, seed in enumerate(row.seeds)
    ]
    return csv_bytes(header, lines)


def as_csv(table: ComparisonTable) -> bytes:
    """One line per head, with every number in full; an empty cell where there is none."""
    lines = [_csv_cells(table, row) for row in table.rows]
    return csv_bytes([*lines[0]], ([*line.values()] for line in lines))


def latex_text(text: str) -> str:
    r"""Text with everything escaped that LaTeX would take for a command.

    >>> latex_text("tagf_mean ± 5 %")
    'tagf\\_mean $\\pm$ 5 \\%'
    """
    return _NEGATIVE.sub("$-$", "".join(_LATEX.get(letter, letter) for letter in text))


def _latex_table(table: ComparisonTable, columns: _Columns, caption: str, label: str) -> tuple[str, ...]:
    header = " & ".join(map(_latex_heading, columns))
    body = [" & ".join(latex_text(shown(row)) for shown in columns.values()) for row in table.rows]
    return (
        r"\begin{table*}",
        r"\centering",
        r"\small",
        rf"\caption{{{latex_text(caption)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        r"\toprule",
        rf"{header} \\",
        r"\midrule",
        *(rf"{line} \\" for line in body),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table*}",
    )


def _latex_heading(name: str) -> str:
    """Narrow, of several lines: the numbers need the width."""
    lines = [rf"\textbf{{{latex_text(line)}}}" for line in textwrap.wrap(name, _HEADING_WIDTH)]
    stacked = r"\\".join(lines)
    return rf"\shortstack[r]{{{stacked}}}" if len(lines) > 1 else stacked


def _result_columns(table: ComparisonTable) -> _Columns:
    columns = {**_HEAD}
    for name in AVERAGES:
        columns[f"{name} CCC"] = lambda row, name=name: _shown_seeds(row.ccc[name])  # type: ignore[misc]
    columns["95 % interval"] = lambda row: _shown_bounds(row.interval.mean)
    if table.reference is not None:
        columns[f"mean minus {table.reference}"] = lambda row: _shown_difference(table, row)
    return columns


def _cost_columns(table: ComparisonTable) -> _Columns:
    columns: _Columns = {}
    if table.split != "validation":
        columns["validation, mean CCC"] = lambda row: _shown_seeds(row.validation)
    return columns | {
        "parameters": lambda row: "n/a" if row.cost is None else f"{row.cost.num_parameters:,}",
        "multiply-adds per frame": lambda row: (
            _NOT_KNOWN if row.cost is None else f"{row.cost.multiply_adds_per_frame:,}"
        ),
        "training, windows/s": lambda row: (
            _NOT_KNOWN if row.cost is None else _speed(row.cost.train_windows_per_s)
        ),
        "prediction, windows/s": lambda row: (
            _NOT_KNOWN if row.cost is None else _speed(row.cost.predict_windows_per_s)
        ),
        "published validation": lambda row: _shown_published(row.published, "validation"),
        "published test": lambda row: _shown_published(row.published, "test"),
    }


def _notes(table: ComparisonTable) -> Iterator[str]:
    units = counted(table.num_groups, table.unit)
    yield (
        f"CCC on {_split(table)}, {_seeds(table)}. The 95 % interval is that of the mean CCC averaged over "
        f"the seeds, by bootstrap over {units}."
    )
    if table.reference is not None:
        yield (
            f"Mean minus {table.reference}: difference of the mean CCCs averaged over the seeds, and its "
            f"paired 95 % interval on the same resamples of {units}."
        )
    if table.split == "validation":
        yield (
            "The epoch of each head was chosen on this same split, so these CCCs are higher than those of "
            "new clips."
        )
    for note in table.notes:
        yield " ".join(note.split())  # a line of its own, in LaTeX behind a comment's sign
    if any(row.published is not None for row in table.rows):
        yield (
            f"Published, not measured here: CCC of valence / arousal / mean as {SOURCE}, give them for the "
            "system that a head is a reading of. Those systems had other features, and some were ensembles."
        )
    for row in table.rows:
        if row.published is not None and row.published.oddity:
            yield f"{row.entry.name}, published as {row.published.system}: {row.published.oddity}."
    if table.random_weights:
        yield RANDOM_WEIGHTS_NOTE


def _split(table: ComparisonTable) -> str:
    return _OUT_OF_FOLD if table.split == "fold" else f"the split {table.split}"


def _seeds(table: ComparisonTable) -> str:
    found = {row.seeds for row in table.rows}
    if table.only_seed is not None:
        return f"seed {table.only_seed}"
    if len(found) > 1:
        return "mean ± standard deviation over the seeds of each head"
    (seeds,) = found
    return f"mean ± standard deviation over the seeds {', '.join(map(str, seeds))}"


def _shown_seeds(seeds: SeedValues) -> str:
    if math.isnan(seeds.mean):
        return _NOT_KNOWN
    return f"{seeds.mean:.3f}" + ("" if math.isnan(seeds.sd) else f" ± {seeds.sd:.3f}")


def _shown_bounds(interval: Interval) -> str:
    return _NOT_KNOWN if math.isnan(interval.estimate) else shown_bounds(interval)


def _shown_difference(table: ComparisonTable, row: ComparisonRow) -> str:
    if row.entry.name == table.reference:
        return "reference"
    return _NOT_KNOWN if row.difference is None else shown_interval(row.difference.mean, "+")


def _shown_published(figures: PublishedFigures | None, split: str) -> str:
    values = () if figures is None else getattr(figures, split)
    return " / ".join(f"{value:.3f}" for value in values)


def _speed(windows_per_s: float) -> str:
    """Three digits that count: a fourth would differ from run to run."""
    return f"{windows_per_s:,.0f}" if windows_per_s >= 100 else f"{windows_per_s:.3g}"


def _csv_cells(table: ComparisonTable, row: ComparisonRow) -> Mapping[str, object]:
    cells: dict[str, object] = {
        "head": row.entry.name,
        "folder": row.entry.folder,
        "split": table.split,
        "seeds": " ".join(map(str, row.seeds)),
    }
    for name in AVERAGES:
        prefix = "mean_ccc" if name == "mean" else f"{name}_ccc"
        interval: Interval = getattr(row.interval, name)
        cells |= {
            f"{prefix}": _cell(row.ccc[name].mean),
            f"{prefix}_sd": _cell(row.ccc[name].sd),
            f"{prefix}_low": _cell(interval.low),
            f"{prefix}_high": _cell(interval.high),
        }
    cells["reference"] = table.reference or ""
    for name in AVERAGES:
        prefix = f"{'mean_ccc' if name == 'mean' else f'{name}_ccc'}_difference"
        difference = None if row.difference is None else getattr(row.difference, name)
        for suffix, field in (("", "estimate"), ("_low", "low"), ("_high", "high")):
            cells[prefix + suffix] = "" if difference is None else _cell(getattr(difference, field))
    cells |= {
        "validation_mean_ccc": _cell(row.validation.mean),
        "validation_mean_ccc_sd": _cell(row.validation.sd),
    }
    for field in (
        "num_parameters",
        "multiply_adds_per_frame",
        "train_windows_per_s",
        "predict_windows_per_s",
    ):
        cells[field] = "" if row.cost is None else getattr(row.cost, field)
    cells["published_system"] = "" if row.published is None else row.published.system
    for split in ("validation", "test"):
        for index, name in enumerate(AVERAGES):
            figures = None if row.published is None else getattr(row.published, split)
            cells[f"published_{split}_{name}"] = "" if figures is None else figures[index]
    return cells


def _cell(value: float) -> float | str:
    return value if math.isfinite(value) else ""
