// The plane of valence and arousal: the clip's way through it, and where it is now.

const SVG = "http://www.w3.org/2000/svg";
const PLANE = 100;
const TRAIL_SECONDS = 1.5;

function svgElement(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
  if (text !== undefined) element.textContent = text;
  return element;
}

function startCircumplex() {
  const svg = byId("circumplex");
  const title = svg.querySelector("title");
  let clip = null;
  let trail;
  let dot;
  let trueDot;

  const x = (valence) => (PLANE * Math.max(-1.2, Math.min(1.2, valence))).toFixed(1);
  const y = (arousal) => (-PLANE * Math.max(-1.2, Math.min(1.2, arousal))).toFixed(1);

  function pathOf(series, from, to) {
    let path = "";
    let isDown = false;
    for (let row = from; row <= to; row += 1) {
      const valence = clip.values.valence[series][row];
      const arousal = clip.values.arousal[series][row];
      if (valence === null || arousal === null) {
        isDown = false;
      } else {
        path += `${isDown ? "L" : "M"}${x(valence)} ${y(arousal)}`;
        isDown = true;
      }
    }
    return path;
  }

  function show(next) {
    clip = next;
    svg.replaceChildren(title);
    svg.append(
      svgElement("circle", { r: PLANE, class: "ring" }),
      svgElement("circle", { r: PLANE / 2, class: "ring", "stroke-dasharray": "2 4" }),
      svgElement("line", { x1: -PLANE, x2: PLANE, class: "axis" }),
      svgElement("line", { y1: -PLANE, y2: PLANE, class: "axis" }),
      svgElement("text", { x: PLANE + 6, y: 3.5 }, "valence"),
      svgElement("text", { x: 0, y: -PLANE - 7, "text-anchor": "middle" }, "arousal"),
    );
    const last = clip.time.length - 1;
    if (clip.values.valence.true) svg.append(svgElement("path", { d: pathOf("true", 0, last), class: "true-path" }));
    svg.append(svgElement("path", { d: pathOf("predicted", 0, last), class: "path" }));
    trail = svgElement("path", { class: "trail" });
    trueDot = svgElement("circle", { r: 4.5, class: "true-dot", visibility: "hidden" });
    dot = svgElement("circle", { r: 6, class: "dot", visibility: "hidden" });
    svg.append(trail, trueDot, dot);
  }

  function place(mark, series, row) {
    const valence = clip.values.valence[series] && clip.values.valence[series][row];
    const arousal = clip.values.arousal[series] && clip.values.arousal[series][row];
    const isKnown = typeof valence === "number" && typeof arousal === "number";
    mark.setAttribute("visibility", isKnown ? "visible" : "hidden");
    if (isKnown) {
      mark.setAttribute("cx", x(valence));
      mark.setAttribute("cy", y(arousal));
    }
  }

  function moveTo(time) {
    const row = rowAt(clip.time, time);
    trail.setAttribute("d", pathOf("predicted", rowAt(clip.time, time - TRAIL_SECONDS), row));
    place(dot, "predicted", row);
    place(trueDot, "true", row);
  }

  return { show, moveTo };
}
