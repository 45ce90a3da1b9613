// Valence and arousal over time, and what maps a place on a time axis to a time.

// A chart whose horizontal axis is the clip's time, with a cursor over it.
function timeChart(element, cursor, onSeek) {
  const area = () => element._fullLayout && { axis: element._fullLayout.xaxis, size: element._fullLayout._size };

  function timeAt(clientX) {
    const { axis: time, size } = area();
    const from = element.getBoundingClientRect().left + size.l;
    return time.p2d(Math.max(0, Math.min(size.w, clientX - from)));
  }

  function isInside(event) {
    if (!area()) return false;
    const box = element.getBoundingClientRect();
    const { size } = area();
    const left = event.clientX - box.left - size.l;
    const top = event.clientY - box.top - size.t;
    return left >= -1 && left <= size.w + 1 && top >= -1 && top <= size.h + 1;
  }

  element.addEventListener("click", (event) => {
    if (isInside(event)) onSeek(timeAt(event.clientX));
  });

  return {
    place(seconds) {
      if (!area()) return;
      const { axis: time, size } = area();
      const left = time.d2p(seconds);
      cursor.hidden = left < -1 || left > size.w + 1;
      cursor.style.transform = `translateX(${size.l + left}px)`;
      cursor.style.top = `${size.t}px`;
      cursor.style.height = `${size.h}px`;
    },
  };
}

function bandOf(clip, target) {
  const { predicted, sd } = clip.values[target];
  const edge = (sign) => predicted.map((value, row) => (value === null || sd[row] === null ? null : value + sign * sd[row]));
  return [edge(-1), edge(1)];
}

function tracesOf(clip) {
  const traces = [];
  TARGETS.forEach((target, row) => {
    const y = row === 0 ? "y" : "y2";
    const shared = { x: clip.time, yaxis: y, xaxis: "x", type: "scatter", mode: "lines", connectgaps: false };
    const values = clip.values[target];
    if (values.sd) {
      const [low, high] = bandOf(clip, target);
      const hidden = { ...shared, hoverinfo: "skip", line: { width: 0 } };
      traces.push(
        { ...hidden, y: low },
        { ...hidden, y: high, fill: "tonexty", fillcolor: faded(colour(target), Number(colour("band"))) },
      );
    }
    if (values.true)
      traces.push({
        ...shared,
        y: values.true,
        name: `true ${target}`,
        line: { color: faded(colour("true"), 0.65), width: 1.4 },
        hovertemplate: "%{y:.2f}",
      });
    traces.push({
      ...shared,
      y: values.predicted,
      name: target,
      line: { color: colour(target), width: 2 },
      hovertemplate: "%{y:.2f}",
    });
  });
  return traces;
}

function rangeOf(clip, target) {
  let size = 1;
  ["predicted", "true"].forEach((series) => {
    (clip.values[target][series] || []).forEach((value) => {
      if (value !== null && Math.abs(value) > size) size = Math.abs(value);
    });
  });
  return [-size * 1.06, size * 1.06];
}

function tracesLayout(clip) {
  const panel = (target, domain) =>
    axis({
      domain,
      range: rangeOf(clip, target),
      fixedrange: true,
      title: axisTitle(target),
      tickvals: [-1, -0.5, 0, 0.5, 1],
      ticktext: ["−1", "", "0", "", "1"],
    });
  return layout({
    hovermode: "x unified",
    xaxis: axis({
      range: [clip.start, clip.end],
      title: axisTitle("seconds"),
      anchor: "y2",
      hoverformat: ".2f",
      minallowed: clip.start,
      maxallowed: clip.end,
      zeroline: false,
    }),
    yaxis: panel("valence", [0.53, 1]),
    yaxis2: panel("arousal", [0, 0.47]),
    shapes: clip.gaps.map(([x0, x1]) => ({
      type: "rect",
      xref: "x",
      yref: "paper",
      x0,
      x1,
      y0: 0,
      y1: 1,
      layer: "below",
      line: { width: 0 },
      fillcolor: faded(colour("gap"), 0.55),
    })),
  });
}

function startTraces(onSeek, onZoom) {
  const element = byId("traces");
  const chart = timeChart(element, byId("cursor"), onSeek);
  let isListening = false;
  return {
    ...chart,
    show(clip) {
      const drawn = draw(element, tracesOf(clip), tracesLayout(clip));
      if (!isListening) {
        isListening = true;
        element.on("plotly_relayout", () => onZoom(element._fullLayout.xaxis.range.slice()));
      }
      return drawn;
    },
  };
}
