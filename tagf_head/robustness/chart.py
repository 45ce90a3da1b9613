"""A robustness measurement as a picture: CCC by level, and below it what the gates' weights do.

    a column per panel     shift     noise on pictures     noise on sound     ...
    CCC valence            lines: heads
    CCC arousal
    tagf, visual gate      lines: candidates
    tagf, audio gate       ...

Many panels are several such blocks. Bands are a standard deviation over checkpoints to either side. The
picture is Vega-Lite, drawn by vl-convert without a network.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from tagf_head.config import TARGETS
from tagf_head.robustness.conditions import Condition
from tagf_head.robustness.curves import mean_and_deviation
from tagf_head.robustness.report import Panel, RobustnessReport
from tagf_head.robustness.tables import CLEAN

VEGA_LITE_VERSION = "5.20"

# Families whose undisturbed rows are their level 0, so that their axis is one of numbers.
_FROM_ZERO = ("shift", "drop")
# All conditions on features are 7 panels.
_MOST_COLUMNS = 8
_WIDTH_PX, _HEIGHT_PX = 190, 120
# Room for axes and titles: charts are placed by their frames alone, so that they stand in line.
_COLUMN_SPACING_PX, _ROW_SPACING_PX = 20, 62
_BLOCK_SPACING_PX = 30
_LEGEND_COLUMNS = 8
# Letters of a line of a title.
_TITLE_WIDTH, _AXIS_TITLE_WIDTH = 34, 22
# Pixels of line and gap; the first is solid.
_DASHES = ((1, 0), (12, 12), (4, 8))
_PNG_SCALE = 2
# Vega's colours, those of few names before those of many; candidates do not look like heads.
_SCHEMES = {"head": ((10, "tableau10"), (20, "tableau20")), "candidate": ((8, "dark2"), (10, "category10"))}

Spec = dict[str, Any]


def draw(report: RobustnessReport) -> tuple[bytes, bytes]:
    """The picture as SVG and as PNG."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(json.dumps(chart(report)), vl_version=VEGA_LITE_VERSION)
    png: bytes = vl_convert.svg_to_png(svg, scale=_PNG_SCALE)
    return svg.encode(), png


def chart(report: RobustnessReport) -> Spec:
    """The picture in Vega-Lite."""
    gates = [(curve, gate) for curve in report.curves for gate in report.gates(curve)]
    blocks: list[Spec] = []
    for start in range(0, len(report.panels), _MOST_COLUMNS):
        panels = report.panels[start : start + _MOST_COLUMNS]
        blocks.append(_block(panels, [_ccc_row(report, panels, target) for target in TARGETS]))
        if gates:
            blocks.append(_block(panels, [_gate_row(report, panels, curve, gate) for curve, gate in gates]))
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "config": {"view": {"stroke": "#ddd"}, "axis": {"gridColor": "#eee", "labelOverlap": True}},
        "vconcat": blocks,
        "spacing": _BLOCK_SPACING_PX,
        "resolve": {"scale": {"color": "independent", "strokeDash": "independent"}},
    }


def _block(panels: Sequence[Panel], rows: Sequence[Sequence[Spec]]) -> Spec:
    """Rows of charts with one legend."""
    return {
        "concat": [each for row in rows for each in row],
        "columns": len(panels),
        "bounds": "flush",
        "spacing": {"column": _COLUMN_SPACING_PX, "row": _ROW_SPACING_PX},
    }


def _ccc_row(report: RobustnessReport, panels: Sequence[Panel], target: str) -> list[Spec]:
    return [
        _lines(
            report,
            panel,
            [
                _point(curve, panel, condition, *report.ccc(curve, condition, target))
                for curve in report.curves
                for condition in _levels(report, panel)
            ],
            title=_heading(report, panel) if target == TARGETS[0] else [],
            y_title=f"CCC {target}" if panel == panels[0] else None,
            y_domain=_ccc_domain(report),
            series="head",
            names=report.curves,
        )
        for panel in panels
    ]


def _gate_row(report: RobustnessReport, panels: Sequence[Panel], curve: str, gate: str) -> list[Spec]:
    gates = [(of_curve, name) for of_curve in report.curves for name in report.gates(of_curve)]
    names = tuple(dict.fromkeys(name for each, of_gate in gates for name in report.gates(each)[of_gate]))
    return [
        _lines(
            report,
            panel,
            [
                _point(
                    candidate,
                    panel,
                    condition,
                    *mean_and_deviation([each.mean_weight[column] for each in reactions]),
                )
                for condition in _levels(report, panel)
                for reactions in (report.reactions(curve, gate, condition),)
                for column, candidate in enumerate(report.gates(curve)[gate])
            ],
            title=_heading(report, panel) if (curve, gate) == gates[0] else [],
            subtitle=_most_moved(report, curve, gate, panel),
            y_title=f"{curve}, {gate} gate" if panel == panels[0] else None,
            y_domain=(0, _largest_weight(report)),
            series="candidate",
            names=names,
        )
        for panel in panels
    ]


def _heading(report: RobustnessReport, panel: Panel) -> list[str]:
    return textwrap.wrap(report.title(panel), _TITLE_WIDTH)


def _most_moved(report: RobustnessReport, curve: str, gate: str, panel: Panel) -> str:
    """Whether the gate reacts: means may stay while weights move from frame to frame."""
    most = report.most_moved(curve, gate, panel)
    if most is None:
        return "alters no frame"
    return f"moves {most[0]:.1%} of the weight at {most[1].level:g} {most[1].unit}"


def _lines(
    report: RobustnessReport,
    panel: Panel,
    values: list[Spec],
    *,
    title: list[str],
    subtitle: str = "",
    y_title: str | None,
    y_domain: tuple[float, float],
    series: str,
    names: tuple[str, ...],
) -> Spec:
    """Lines with bands, one per name; without a title of its own, the y axis is that of the first column."""
    levels = list(dict.fromkeys(value["level"] for value in values))
    x: Spec = {"field": "level", "title": report.levels(panel)[0].unit}
    if panel[0] in _FROM_ZERO:
        x |= {"type": "quantitative", "scale": {"zero": False, "nice": False}, "axis": {"tickCount": 5}}
    else:
        x |= {"type": "ordinal", "sort": levels, "axis": {"labelAngle": 0}}
    color = {
        "field": "name",
        "type": "nominal",
        "scale": {"domain": list(names), "scheme": _scheme(series, len(names))},
        "legend": {
            "title": series,
            "orient": "bottom",
            "columns": _LEGEND_COLUMNS,
            "symbolType": "stroke",
            "symbolOpacity": 1,
            "symbolStrokeWidth": 2.5,
        },
    }
    y = {
        "field": "mean",
        "type": "quantitative",
        "title": None if y_title is None else textwrap.wrap(y_title, _AXIS_TITLE_WIDTH),
        "scale": {"domain": list(y_domain), "clamp": True},
        "axis": {"tickCount": 5, "labels": y_title is not None, "ticks": y_title is not None},
    }
    # An area over a single level has no width.
    band = {"type": "area", "opacity": 0.18} if len(levels) > 1 else {"type": "rule", "opacity": 0.5}
    mark, dashed = _line_marks(names, series)
    return {
        "title": {
            "text": title or subtitle,
            "subtitle": subtitle if title else "",
            "anchor": "start",
            "frame": "group",
            "fontSize": 11 if title else 10,
            "fontWeight": "bold" if title else "normal",
            "subtitleFontSize": 10,
            "offset": 4,
        },
        "width": _WIDTH_PX,
        "height": _HEIGHT_PX,
        "data": {"values": values},
        "encoding": {"x": x, "color": color},
        "layer": [
            {"mark": band, "encoding": {"y": y | {"field": "low"}, "y2": {"field": "high"}}},
            {"mark": mark, "encoding": {"y": y, **dashed}},
        ],
    }


def _scheme(series: str, num_names: int) -> str:
    """The smallest scheme with a colour for each name; the largest where there is none."""
    schemes = _SCHEMES[series]
    return next((name for size, name in schemes if num_names <= size), schemes[-1][1])


def _line_marks(names: tuple[str, ...], series: str) -> tuple[Spec, Spec]:
    """Mark and encoding of the lines; points, since a line over a single level has no length.

    Weights of several candidates may be all the same: each is dashed so that those below it are seen.
    """
    if series == "head":
        return {"type": "line", "strokeWidth": 1.6, "point": {"size": 22}}, {}
    dashes = [_DASHES[place % len(_DASHES)] for place in range(len(names))]
    scale = {"domain": list(names), "range": dashes}
    return (
        {"type": "line", "strokeWidth": 2.2, "point": {"size": 18}},
        {"strokeDash": {"field": "name", "type": "nominal", "scale": scale, "legend": None}},
    )


def _levels(report: RobustnessReport, panel: Panel) -> tuple[Condition | None, ...]:
    """The conditions of a panel by their severity, and None for the clean rows where no level is 0."""
    levels = report.levels(panel)
    if panel[0] not in _FROM_ZERO:
        return (None, *levels)
    return levels if any(each.level == 0 for each in levels) else (None, *levels)


def _point(name: str, panel: Panel, condition: Condition | None, mean: float, deviation: float) -> Spec:
    """A point of a line; what is not defined is null, which leaves a gap."""
    spread = 0.0 if math.isnan(deviation) else deviation
    is_defined = not math.isnan(mean)
    if panel[0] in _FROM_ZERO:
        level: float | str = 0.0 if condition is None else condition.level
    else:
        level = CLEAN if condition is None else f"{condition.level:g}"
    return {
        "name": name,
        "level": level,
        "mean": mean if is_defined else None,
        "low": mean - spread if is_defined else None,
        "high": mean + spread if is_defined else None,
    }


def _ccc_domain(report: RobustnessReport) -> tuple[float, float]:
    """Tenths around all lines and bands, zero included: one for all rows, so that they can be compared."""
    drawn = [value for value in _drawn_ccc(report) if not math.isnan(value)]
    return (
        math.floor(10 * min([0.0, *drawn])) / 10,
        math.ceil(10 * max([0.1, *drawn])) / 10,
    )


def _largest_weight(report: RobustnessReport) -> float:
    """The tenth above every mean weight."""
    weights = [
        weight
        for head in report.heads
        for condition in (None, *report.conditions)
        for gate in head.under(condition).gates.values()
        for weight in gate.mean_weight
    ]
    return min(1.0, math.ceil(10 * max(weights)) / 10)


def _drawn_ccc(report: RobustnessReport) -> Iterator[float]:
    for curve in report.curves:
        for condition in (None, *report.conditions):
            for target in TARGETS:
                mean, deviation = report.ccc(curve, condition, target)
                spread = 0.0 if math.isnan(deviation) else deviation
                yield from (mean - spread, mean + spread)
