// Charts of the whole run: training, calibration, robustness, comparison.

const SCORE_LINES = [
  ["validation_ccc_mean", "mean", "ink", 2.4],
  ["validation_ccc_valence", "valence", "valence", 1.6],
  ["validation_ccc_arousal", "arousal", "arousal", 1.6],
];

function drawTraining() {
  const runs = report.training;
  if (!runs.length) return;
  const isOne = runs.length === 1;
  const line = (run, name, label, colourName, width) => ({
    x: run.columns.epoch,
    y: run.columns[name],
    name: plain(isOne ? label : run.name),
    mode: run.columns.epoch.length > 1 ? "lines" : "markers",
    line: { color: colourName, width },
    hovertemplate: "%{y:.3f}",
  });
  const scores = isOne
    ? SCORE_LINES.map(([name, label, hue, width]) => line(runs[0], name, label, colour(hue), width))
    : runs.map((run, at) => ({ ...line(run, "validation_ccc_mean", "mean", "", 1.8), line: { ...headStyle(at), width: 1.8 } }));
  const best = report.best_epoch
    ? [{ type: "line", xref: "x", yref: "paper", x0: report.best_epoch, x1: report.best_epoch, y0: 0, y1: 1, line: { color: colour("soft"), width: 1, dash: "dot" } }]
    : [];
  const endLabels = isOne
    ? scores.map((trace) => ({
        x: trace.x[trace.x.length - 1],
        y: trace.y[trace.y.length - 1],
        text: trace.name,
        xanchor: "left",
        xshift: 6,
        showarrow: false,
        font: { color: trace.line.color, size: 12 },
      }))
    : [];
  spread(endLabels);
  const epochs = axis({ title: axisTitle("epoch"), zeroline: false, rangemode: "tozero", fixedrange: true, hoverformat: "d" });
  draw(byId("ccc-chart"), scores, layout({
    hovermode: "x unified",
    dragmode: false,
    margin: { ...MARGIN, r: isOne ? 62 : 12 },
    showlegend: !isOne,
    legend: { orientation: "h", y: -0.25 },
    xaxis: epochs,
    yaxis: axis({ title: axisTitle("CCC"), fixedrange: true }),
    shapes: best,
    annotations: [
      ...endLabels.filter((label) => label.y !== null),
      ...(best.length
        ? [{ x: report.best_epoch, y: 0, yref: "paper", yanchor: "bottom", text: `best epoch, ${report.best_epoch}`, showarrow: false, xanchor: "left", xshift: 4, font: { color: colour("soft"), size: 11 } }]
        : []),
    ],
  }));
  const losses = runs.map((run, at) => ({
    ...line(run, "train_loss", "loss", colour("ink"), 2),
    ...(isOne ? {} : { line: { ...headStyle(at), width: 1.8 } }),
  }));
  draw(byId("loss-chart"), losses, layout({
    hovermode: "x unified",
    dragmode: false,
    showlegend: !isOne,
    legend: { orientation: "h", y: -0.25 },
    xaxis: epochs,
    yaxis: axis({ title: axisTitle("loss"), fixedrange: true, rangemode: "tozero" }),
    shapes: best,
  }));
}

// Labels at the ends of lines, moved apart where they would cover each other.
function spread(labels) {
  const known = labels.filter((label) => label.y !== null).sort((a, b) => a.y - b.y);
  const values = known.map((label) => label.y);
  const step = Math.max(0.02, (Math.max(...values, 0) - Math.min(...values, 0)) * 0.075);
  for (let at = 1; at < known.length; at += 1)
    if (known[at].y - known[at - 1].y < step) known[at].y = known[at - 1].y + step;
}

function drawCalibration() {
  const element = byId("calibration-chart");
  if (!element || !report.calibration) return;
  const lines = TARGETS.map((target) => ({
    x: [0, ...report.calibration[target].map(([level]) => level), 1],
    y: [0, ...report.calibration[target].map(([, share]) => share), 1],
    name: target,
    mode: "lines+markers",
    line: { color: colour(target), width: 2 },
    marker: { size: 5 },
    hovertemplate: `${target}: %{y:.0%} within the %{x:.0%} interval<extra></extra>`,
  }));
  const side = (title) => axis({ title: axisTitle(title), range: [0, 1], tickformat: ".0%", fixedrange: true });
  draw(element, [
    { x: [0, 1], y: [0, 1], mode: "lines", hoverinfo: "skip", line: { color: colour("soft"), width: 1, dash: "dot" }, showlegend: false },
    ...lines,
  ], layout({
    margin: { l: 58, r: 12, t: 8, b: 60 },
    dragmode: false,
    showlegend: true,
    legend: { orientation: "h", y: -0.2 },
    xaxis: side("interval said"),
    yaxis: side("labels within"),
  }));
}

function robustnessPanel(element, panel, score) {
  const heads = report.robustness.heads;
  const traces = heads.flatMap((head, at) => {
    const curve = panel.curves[head] && panel.curves[head][score];
    if (!curve) return [];
    const style = headStyle(at);
    return [{
      x: panel.levels,
      y: curve.mean,
      error_y: curve.sd.some((sd) => sd !== null) ? { type: "data", array: curve.sd.map((sd) => sd || 0), thickness: 1, width: 0, color: faded(style.color, 0.5) } : undefined,
      name: plain(head),
      mode: "lines+markers",
      marker: { size: 5, color: style.color },
      line: { ...style, width: 1.8 },
      hovertemplate: "%{y:.3f}",
    }];
  });
  const clean = panel.from_zero ? [] : heads.flatMap((head, at) => {
    const curve = panel.curves[head] && panel.curves[head][score];
    if (!curve || curve.clean === null) return [];
    return [{ type: "line", xref: "paper", yref: "y", x0: 0, x1: 1, y0: curve.clean, y1: curve.clean, line: { color: faded(headStyle(at).color, 0.45), width: 1, dash: "dot" } }];
  });
  draw(element, traces, layout({
    hovermode: "x unified",
    dragmode: false,
    margin: { l: 44, r: 8, t: 6, b: 36 },
    xaxis: axis({ title: axisTitle(panel.unit), autorange: panel.reversed ? "reversed" : true, zeroline: false, fixedrange: true, ticksuffix: "" }),
    yaxis: axis({ fixedrange: true, title: axisTitle("CCC"), rangemode: "tozero" }),
    shapes: clean,
  }));
}

function startRobustness() {
  const place = byId("robustness-panels");
  if (!place || !report.robustness) return;
  const figures = report.robustness.panels.map((panel) => {
    const figure = document.createElement("figure");
    const caption = document.createElement("figcaption");
    caption.textContent = panel.title;
    const element = document.createElement("div");
    element.className = "figure";
    figure.append(caption, element);
    place.append(figure);
    return element;
  });
  const drawAll = () => {
    byId("robustness-legend").replaceChildren(...report.robustness.heads.map((head, at) => {
      const item = document.createElement("li");
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = headStyle(at).color;
      item.append(swatch, head);
      return item;
    }));
    figures.forEach((element, at) => robustnessPanel(element, report.robustness.panels[at], byId("robustness-score").value));
  };
  byId("robustness-score").addEventListener("change", drawAll);
  onThemeChange(drawAll);
  drawAll();
}

function drawComparison() {
  const element = byId("comparison-chart");
  if (!element || !report.comparison) return;
  const heads = report.comparison.heads;
  const scores = [["valence", "valence"], ["arousal", "arousal"], ["mean", "ink"]];
  element.style.height = `${Math.max(9, 3.2 * heads.length + 5)}rem`;
  const traces = scores.flatMap(([score, hue], row) => {
    const offset = (1 - row) * 0.22;
    const at = heads.map((_, index) => heads.length - 1 - index + offset);
    const values = heads.map((head) => head.scores[score]);
    const seeds = values.flatMap((value, index) => value.seeds.map((seed) => [seed, at[index]]));
    return [
      { x: seeds.map(([seed]) => seed), y: seeds.map(([, y]) => y), mode: "markers", showlegend: false, hoverinfo: "skip", marker: { symbol: "line-ns-open", size: 9, color: colour("soft"), opacity: 0.7 } },
      {
        x: values.map((value) => value.ccc),
        y: at,
        name: score,
        mode: "markers",
        marker: { size: 9, color: colour(hue) },
        error_x: {
          type: "data",
          symmetric: false,
          array: values.map((value) => (value.high === null ? 0 : value.high - value.ccc)),
          arrayminus: values.map((value) => (value.low === null ? 0 : value.ccc - value.low)),
          color: faded(colour(hue), 0.5),
          thickness: 2,
          width: 0,
        },
        customdata: values.map((value) => `[${fixed(value.low, 3)}, ${fixed(value.high, 3)}]`),
        text: heads.map((head) => plain(head.head)),
        hovertemplate: `%{text}, ${score}: %{x:.3f} %{customdata}<extra></extra>`,
      },
    ];
  });
  const longest = Math.min(22, Math.max(...heads.map((head) => head.head.length)));
  draw(element, traces, layout({
    dragmode: false,
    margin: { l: Math.max(52, 9 + longest * 7), r: 12, t: 26, b: 36 },
    showlegend: true,
    legend: { orientation: "h", y: 1.0, yanchor: "bottom", x: 0 },
    hovermode: "closest",
    xaxis: axis({ title: axisTitle("CCC"), fixedrange: true }),
    yaxis: axis({
      tickvals: heads.map((_, index) => heads.length - 1 - index),
      ticktext: heads.map((head) => plain(head.head.length > 22 ? `${head.head.slice(0, 21)}…` : head.head)),
      range: [-0.6, heads.length - 0.4],
      fixedrange: true,
      showgrid: false,
      zeroline: false,
    }),
  }));
}

function startCurves() {
  drawTraining();
  startRobustness();
  drawComparison();
  onThemeChange(() => {
    drawTraining();
    drawComparison();
    drawCalibration();
  });
  const element = byId("calibration-chart");
  // A chart has no size while it is folded away.
  if (element) element.closest("details").addEventListener("toggle", drawCalibration);
}
