// One clip at a time: video, traces, plane and gates in step.

const SECOND_STEP = 1;

function startPlayer() {
  const video = byId("clip-video");
  const cursor = byId("cursor");
  const circumplex = startCircumplex();
  const traces = startTraces(seek, (range) => {
    gates.zoom(range);
    place();
  });
  const gates = startGates(seek);
  let clip = null;
  let time = 0;
  let blobUrl = null;

  const hasVideo = () => clip && clip.video && !video.hidden;

  function place() {
    traces.place(time);
    gates.place(time);
  }

  // Shows the moment `seconds` on the container's timeline.
  function setTime(seconds) {
    if (!clip) return;
    time = Math.max(clip.start, Math.min(clip.end, seconds));
    const row = rowAt(clip.time, time);
    const at = fixed(time);
    cursor.dataset.time = time.toFixed(4);
    cursor.setAttribute("aria-valuenow", time.toFixed(2));
    const values = TARGETS.map((target) => {
      const predicted = clip.values[target].predicted[row];
      const truth = clip.values[target].true && clip.values[target].true[row];
      byId(`now-${target}`).textContent = fixed(predicted);
      byId(`true-${target}`).textContent = truth === null || truth === undefined ? "" : `true ${fixed(truth)}`;
      return `${target} ${fixed(predicted)}`;
    });
    const isLost = clip.gaps.some(([from, to]) => time >= from - 2e-4 && time < to - 2e-4);
    byId("now-face").textContent = isLost ? "not found" : "found";
    byId("clip-time").textContent = clip.complete ? `${at} s, frame ${clip.frame[row]}` : `${at} s`;
    cursor.setAttribute("aria-valuetext", `${at} seconds, ${values.join(", ")}`);
    place();
    circumplex.moveTo(time);
  }

  // The start of the frame that is on screen at a time.
  function frameStart(seconds) {
    if (clip.complete) return clip.time[rowAt(clip.time, seconds)];
    return seconds;
  }

  function seek(seconds) {
    if (!clip) return;
    const within = Math.max(clip.start, Math.min(clip.end - clip.frameSeconds / 2, seconds));
    const start = frameStart(within);
    if (hasVideo()) {
      // Into the middle of the frame: players round a frame's very start either way.
      const offset = clip.complete ? clip.frameSeconds / 2 : 0;
      video.currentTime = Math.max(0, start + offset + clip.video.offset);
    }
    setTime(start);
  }

  function step(frames) {
    if (hasVideo()) video.pause();
    if (clip.complete) {
      const row = Math.max(0, Math.min(clip.time.length - 1, rowAt(clip.time, time) + frames));
      seek(clip.time[row]);
    } else {
      seek(time + frames * clip.frameSeconds);
    }
  }

  function playOrPause() {
    if (!hasVideo()) return;
    if (video.paused) video.play().catch(() => {});
    else video.pause();
  }

  function fromVideo(seconds) {
    // Pictures from before a seek still come while it is under way, and would undo a step of it.
    if (!video.seeking) setTime(frameStart(seconds - clip.video.offset));
  }

  // Told of every picture that is put on screen, where the browser can do so.
  if ("requestVideoFrameCallback" in HTMLVideoElement.prototype) {
    const onPicture = (_, picture) => {
      if (hasVideo()) fromVideo(picture.mediaTime + 1e-4);
      video.requestVideoFrameCallback(onPicture);
    };
    video.requestVideoFrameCallback(onPicture);
  } else {
    const tick = () => {
      if (hasVideo()) fromVideo(video.currentTime);
      if (!video.paused && !video.ended) requestAnimationFrame(tick);
    };
    video.addEventListener("play", () => requestAnimationFrame(tick));
    video.addEventListener("timeupdate", () => hasVideo() && fromVideo(video.currentTime));
  }
  ["seeked", "pause"].forEach((name) => video.addEventListener(name, () => hasVideo() && fromVideo(video.currentTime)));
  video.addEventListener("error", () => {
    if (!clip || !clip.video || !video.getAttribute("src")) return;
    absent(
      clip.video.url
        ? `The video ${decodeURIComponent(clip.video.url)} cannot be played: it is not there, or this browser does not know its format. A report made with --videos embed carries videos that every browser plays.`
        : "This browser cannot play the video.",
    );
  });

  function absent(text) {
    video.hidden = Boolean(text);
    byId("video-absent").hidden = !text;
    byId("video-absent").textContent = text || "";
  }

  function load(next) {
    video.pause();
    if (blobUrl) URL.revokeObjectURL(blobUrl);
    blobUrl = null;
    if (!next.video) {
      video.removeAttribute("src");
      video.load();
      absent(report.video_remedy);
      return;
    }
    absent("");
    if (next.video.url) {
      video.src = next.video.url;
    } else {
      const holder = document.querySelector(`script.clip-video-data[data-index="${next.index}"]`);
      blobUrl = URL.createObjectURL(new Blob([bytesOf(holder.textContent)], { type: holder.dataset.type }));
      video.src = blobUrl;
    }
  }

  function hideDrawings(isHidden) {
    document.querySelectorAll("#clip .stage, #clip .legend, .timeline, .colour-key").forEach((each) => {
      each.hidden = isHidden;
    });
  }

  // A clip that the page does not draw: what is known of it in words, beside no other clip's picture.
  function tell(name, facts) {
    clip = null;
    load({ video: null });
    hideDrawings(true);
    byId("clip-title").textContent = name;
    byId("clip-facts").textContent = facts;
  }

  function show(next) {
    clip = next;
    hideDrawings(false);
    byId("clip-title").textContent = clip.name;
    byId("clip-facts").textContent = report.facts[clip.index];
    cursor.setAttribute("aria-valuemin", clip.start.toFixed(2));
    cursor.setAttribute("aria-valuemax", clip.end.toFixed(2));
    load(clip);
    circumplex.show(clip);
    gates.show(clip);
    traces.show(clip);
    setTime(clip.start);
  }

  function redraw() {
    if (!clip) return;
    const shown = byId("traces")._fullLayout ? byId("traces")._fullLayout.xaxis.range.slice() : null;
    traces.show(clip);
    if (shown) Plotly.relayout(byId("traces"), { "xaxis.range": shown });
    gates.redraw();
    place();
  }

  document.addEventListener("keydown", (event) => {
    if (!clip || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.target;
    if (target.closest("input, select, textarea, summary, pre")) return;
    const actions = {
      " ": playOrPause,
      ArrowLeft: () => seek(time - SECOND_STEP),
      ArrowRight: () => seek(time + SECOND_STEP),
      ",": () => step(-1),
      ".": () => step(1),
    };
    if (target === cursor) Object.assign(actions, { Home: () => seek(clip.start), End: () => seek(clip.end) });
    // Space on a button or link is its own.
    if (event.key === " " && target.closest("button, a")) return;
    if (!(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });
  // The page takes space when it goes down. Chromium's player takes it when it comes up, before listeners of
  // the video itself.
  document.addEventListener(
    "keyup",
    (event) => {
      if (event.target === video && event.key === " ") event.preventDefault();
    },
    true,
  );
  new ResizeObserver(() => requestAnimationFrame(place)).observe(byId("timeline"));
  byId("traces").addEventListener("plotly_afterplot", place);
  onThemeChange(redraw);
  return { show, tell, place };
}
