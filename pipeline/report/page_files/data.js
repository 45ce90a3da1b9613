// What the page holds, unpacked clip by clip when it is looked at.

const report = JSON.parse(document.getElementById("report-data").textContent);
const TARGETS = ["valence", "arousal"];
const NONE = -32768;

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function unpack(packed) {
  if (!packed) return null;
  const bytes = new DataView(bytesOf(packed.i16).buffer);
  return Array.from({ length: bytes.byteLength / 2 }, (_, i) => {
    const step = bytes.getInt16(2 * i, true);
    return step === NONE ? null : step * packed.step;
  });
}

function unpackTimes(packed) {
  const bytes = new DataView(bytesOf(packed.f32).buffer);
  return Array.from({ length: bytes.byteLength / 4 }, (_, i) => packed.start + bytes.getFloat32(4 * i, true));
}

function unpackFrames(base64) {
  const bytes = new DataView(bytesOf(base64).buffer);
  return Array.from({ length: bytes.byteLength / 4 }, (_, i) => bytes.getUint32(4 * i, true));
}

const unpacked = new Map();

// The traces of a clip; null for one that has none on this page.
function clipOf(index) {
  const packed = report.traces[index];
  if (!packed) return null;
  if (!unpacked.has(index)) {
    const time = unpackTimes(packed.time);
    unpacked.set(index, {
      index,
      name: report.names[index],
      time,
      frame: unpackFrames(packed.frame),
      frameSeconds: packed.frame_s,
      complete: packed.complete,
      gaps: packed.gaps,
      start: time[0],
      end: time[time.length - 1] + packed.frame_s,
      values: Object.fromEntries(
        TARGETS.map((target) => [
          target,
          {
            predicted: unpack(packed[target].predicted),
            sd: unpack(packed[target].sd),
            true: unpack(packed[target].true),
          },
        ]),
      ),
      gates: packed.gates && {
        edges: unpackTimes(packed.gates.edges),
        gates: packed.gates.gates.map((gate) => ({ ...gate, weights: gate.weights.map(unpack) })),
      },
      video: report.videos[index] || null,
    });
  }
  return unpacked.get(index);
}

// The last row that is not later than a time; 0 before all of them.
function rowAt(time, at) {
  let low = 0;
  let high = time.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    // Times pass through float32 and the media clock's microseconds.
    if (time[middle] <= at + 2e-4) low = middle;
    else high = middle - 1;
  }
  return low;
}

function fixed(value, digits = 2) {
  return value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−");
}

// Plotly reads some tags in texts.
function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

const byId = (id) => document.getElementById(id);
