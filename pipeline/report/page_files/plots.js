// What all charts have in common.

const MARGIN = { l: 52, r: 12, t: 8, b: 40 };
const isTouch = matchMedia("(pointer: coarse)").matches;
const PLOT_CONFIG = {
  displaylogo: false,
  responsive: true,
  displayModeBar: false,
  doubleClick: "reset",
  showTips: false,
};

function axis(more = {}) {
  return {
    gridcolor: colour("grid"),
    zerolinecolor: colour("line"),
    zerolinewidth: 1,
    linecolor: colour("line"),
    tickfont: { color: colour("soft"), size: 12 },
    title: { font: { color: colour("soft"), size: 12 }, standoff: 8 },
    automargin: false,
    ...more,
  };
}

function layout(more = {}) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { ...MARGIN },
    showlegend: false,
    font: { family: getComputedStyle(document.body).fontFamily, color: colour("ink"), size: 12 },
    hoverlabel: {
      bgcolor: colour("sheet"),
      bordercolor: colour("line"),
      font: { color: colour("ink"), size: 12 },
    },
    dragmode: isTouch ? false : "zoom",
    ...more,
  };
}

function axisTitle(text) {
  return { text, font: { color: colour("soft"), size: 12 }, standoff: 6 };
}

function draw(element, traces, plotLayout) {
  return Plotly.react(element, traces, plotLayout, PLOT_CONFIG);
}

// Colours of heads, told apart in both schemes and by people who see few colours (after Okabe and Ito).
const HEAD_COLOURS = {
  light: ["#0b6e8f", "#b4530a", "#5b4b9a", "#3d7a34", "#a03468", "#7a6a12", "#35506b", "#8a4b3c"],
  dark: ["#5cc4e0", "#f2a15c", "#b3a5f0", "#8fd083", "#f08fbd", "#dcc85e", "#a3bddb", "#e0a593"],
};
const DASHES = ["solid", "dash", "dot", "dashdot"];

function headStyle(index) {
  const isDark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const colours = HEAD_COLOURS[isDark ? "dark" : "light"];
  return { color: colours[index % colours.length], dash: DASHES[Math.floor(index / colours.length) % DASHES.length] };
}
