"""The plot of a comparison: CCC of each head, averaged over seeds, with its interval and every seed.

Vega-Lite, drawn without a network: vl-convert carries the library.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tagf_head.comparison.table import AVERAGES, ComparisonTable
from tagf_head.data.clip_groups import counted
from tagf_head.evaluation.results import RANDOM_WEIGHTS_NOTE
from tagf_head.run_folder import write_file

_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
_VEGA_LITE = "5.20"
_PNG_SCALE = 2.0
_COLOUR = "#1b6e8c"


def write_plot(folder: Path, name: str, table: ComparisonTable) -> None:
    """Write `NAME.svg` and `NAME.png`.

    Raises:
        HeadError: They cannot be written.
    """
    import vl_convert

    spec = plot_spec(table)
    svg = vl_convert.vegalite_to_svg(spec, vl_version=_VEGA_LITE)
    write_file(folder / f"{name}.svg", svg.encode())
    png = vl_convert.vegalite_to_png(spec, vl_version=_VEGA_LITE, scale=_PNG_SCALE)
    write_file(folder / f"{name}.png", png)


def plot_spec(table: ComparisonTable) -> dict[str, Any]:
    """The plot in Vega-Lite: a column each for valence, arousal and their mean, a line for each head."""
    heads = [row.entry.name for row in table.rows]
    shared = {"y": {"field": "head", "type": "nominal", "sort": heads, "title": None}}
    axis = {"type": "quantitative", "title": "CCC", "scale": {"zero": False}}
    lines = f"lines: 95 % bootstrap interval over {counted(table.num_groups, table.unit)}"
    seed = table.only_seed
    subtitle = [
        f"Split {table.split}; points: mean over seeds; {lines}; ticks: seeds"
        if seed is None
        else f"Split {table.split}; points: seed {seed}; {lines}"
    ]
    if table.random_weights:
        subtitle.append(RANDOM_WEIGHTS_NOTE)
    return {
        "$schema": _SCHEMA,
        "title": {"text": "Heads compared", "subtitle": subtitle, "anchor": "start"},
        "data": {"values": _values(table)},
        "facet": {"column": {"field": "of", "type": "nominal", "sort": [*AVERAGES], "title": None}},
        "spec": {
            "width": 220,
            "height": {"step": 22},
            "layer": [
                {
                    "mark": {"type": "rule", "color": _COLOUR, "strokeWidth": 1.5},
                    "encoding": {
                        **shared,
                        "x": {"field": "low", **axis},
                        "x2": {"field": "high"},
                    },
                },
                {
                    "transform": [{"flatten": ["seeds"], "as": ["seed"]}],
                    "mark": {"type": "tick", "color": "#888888", "thickness": 1.5, "size": 9},
                    "encoding": {**shared, "x": {"field": "seed", **axis}},
                },
                {
                    "mark": {"type": "point", "filled": True, "color": _COLOUR, "size": 60, "opacity": 1},
                    "encoding": {**shared, "x": {"field": "ccc", **axis}},
                },
            ],
        },
        "config": {
            "view": {"stroke": "#dddddd"},
            # Else the outer numbers are moved inwards, away from their ticks.
            "axisX": {"labelFlush": False},
            "axisY": {"grid": True, "labelLimit": 260},
        },
    }


def _values(table: ComparisonTable) -> list[dict[str, Any]]:
    values = []
    for row in table.rows:
        for name in AVERAGES:
            interval = getattr(row.interval, name)
            if math.isnan(interval.estimate):
                continue
            has_bounds = math.isfinite(interval.low)
            values.append(
                {
                    "head": row.entry.name,
                    "of": name,
                    "ccc": interval.estimate,
                    "low": interval.low if has_bounds else interval.estimate,
                    "high": interval.high if has_bounds else interval.estimate,
                    "seeds": [*row.ccc[name].values],
                }
            )
    return values
