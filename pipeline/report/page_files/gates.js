// The gates' weights as a heat map under the traces' own time axis.

const GATE_ROW_PX = 26;

function rampScale() {
  return [0, 1, 2, 3].map((at) => [at / 3, colour(`ramp-${at}`)]);
}

function startGates(onSeek) {
  const element = byId("gate-map");
  if (!element) return { place() {}, show() {}, redraw() {}, zoom() {} };
  const chart = timeChart(element, byId("gate-cursor"), onSeek);
  const stretch = byId("gate-stretch");
  let clip = null;
  let range = null;

  function show(next) {
    clip = next;
    if (!clip.gates) {
      Plotly.purge(element);
      element.textContent = "This clip has no gates.";
      return;
    }
    const { edges, gates } = clip.gates;
    const rows = gates.flatMap((gate) =>
      gate.candidates.map((candidate, at) => ({ label: `${gate.name} ${candidate}`, weights: gate.weights[at] })),
    );
    const known = rows.flatMap((row) => row.weights).filter((value) => value !== null);
    const [low, high] = stretch.checked
      ? [known.reduce((a, b) => Math.min(a, b), 1), known.reduce((a, b) => Math.max(a, b), 0)]
      : [0, 1];
    byId("key-low").textContent = stretch.checked ? fixed(low, 4) : "0";
    byId("key-high").textContent = stretch.checked ? fixed(high, 4) : "1";
    const height = rows.length * GATE_ROW_PX + (gates.length - 1) * 6 + MARGIN.t + MARGIN.b;
    element.style.height = `${height}px`;
    const share = 6 / (height - MARGIN.t - MARGIN.b);
    // One panel per gate, from above, a little apart.
    let top = 1;
    const panels = {};
    const traces = gates.map((gate, number) => {
      const part = ((1 - share * (gates.length - 1)) * gate.candidates.length) / rows.length;
      const name = number === 0 ? "yaxis" : `yaxis${number + 1}`;
      panels[name] = axis({
        domain: [Math.max(0, top - part), top],
        autorange: "reversed",
        fixedrange: true,
        tickvals: gate.candidates.map((_, at) => at),
        ticktext: gate.candidates.map(plain),
        title: axisTitle(plain(gate.name)),
        showgrid: false,
        zeroline: false,
      });
      top -= part + share;
      return {
        type: "heatmap",
        x: edges,
        y: gate.candidates.map((_, at) => at),
        z: gate.weights,
        xaxis: "x",
        yaxis: number === 0 ? "y" : `y${number + 1}`,
        zmin: low,
        zmax: high > low ? high : low + 1e-9,
        colorscale: rampScale(),
        showscale: false,
        ygap: 1,
        hovertemplate: `${plain(gate.name)} %{customdata}: %{z:.4f}<br>%{x:.2f} s<extra></extra>`,
        customdata: gate.candidates.map((candidate) => edges.slice(1).map(() => plain(candidate))),
      };
    });
    draw(
      element,
      traces,
      layout({
        height,
        hovermode: "closest",
        dragmode: false,
        xaxis: axis({
          range: range || [clip.start, clip.end],
          title: axisTitle("seconds"),
          anchor: gates.length > 1 ? `y${gates.length}` : "y",
          fixedrange: true,
          showgrid: false,
          zeroline: false,
        }),
        ...panels,
      }),
    );
  }

  stretch.addEventListener("change", () => clip && show(clip));
  return {
    place(seconds) {
      if (clip && clip.gates) chart.place(seconds);
    },
    show(next) {
      range = null;
      show(next);
    },
    redraw() {
      if (clip) show(clip);
    },
    zoom(next) {
      range = next;
      if (clip && clip.gates) Plotly.relayout(element, { "xaxis.range": next });
    },
  };
}
