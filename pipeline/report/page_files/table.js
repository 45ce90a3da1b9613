// The table of clips: sorted by any column, filtered by name, walked through by keys.

function startTable(onChoose) {
  const table = byId("clips-table");
  if (!table) return null;
  const body = table.tBodies[0];
  const all = [...body.rows];
  const visible = () => [...body.rows].filter((row) => !row.hidden);
  let chosen = null;

  function makeFocusable(row) {
    all.forEach((each) => each.setAttribute("tabindex", each === row ? "0" : "-1"));
  }

  function choose(row, { scroll = false } = {}) {
    if (chosen) chosen.setAttribute("aria-selected", "false");
    chosen = row;
    row.setAttribute("aria-selected", "true");
    makeFocusable(row);
    if (scroll) showRow(row);
    onChoose(Number(row.dataset.index));
  }

  // Scrolls the table's frame, and not the page.
  function showRow(row) {
    const frame = byId("clips-frame");
    const head = table.tHead.offsetHeight;
    if (row.offsetTop - head < frame.scrollTop) frame.scrollTop = row.offsetTop - head;
    else if (row.offsetTop + row.offsetHeight > frame.scrollTop + frame.clientHeight)
      frame.scrollTop = row.offsetTop + row.offsetHeight - frame.clientHeight;
  }

  function sort(button) {
    const heading = button.closest("th");
    const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    [...table.tHead.rows[0].cells].forEach((cell) => cell.setAttribute("aria-sort", "none"));
    heading.setAttribute("aria-sort", direction);
    const column = heading.cellIndex;
    const isNumber = button.dataset.kind === "number";
    const sign = direction === "ascending" ? 1 : -1;
    const keyed = all.map((row, order) => ({ row, order, value: row.cells[column].dataset.value }));
    keyed.sort((first, second) => {
      // What is not known comes last either way.
      if ((first.value === "") !== (second.value === "")) return first.value === "" ? 1 : -1;
      const difference = isNumber
        ? Number(first.value) - Number(second.value)
        : first.value.localeCompare(second.value, "en", { numeric: true });
      return sign * difference || first.order - second.order;
    });
    body.append(...keyed.map((each) => each.row));
  }

  function count() {
    const shown = visible().length;
    byId("clips-count").textContent = shown === all.length ? `${all.length} clips.` : `${shown} of ${all.length} clips.`;
  }

  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-sort]");
    if (button) sort(button);
  });
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row) choose(row);
  });
  body.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr");
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const rows = visible();
    const at = rows.indexOf(row);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") {
      choose(row);
    } else if (next !== undefined) {
      const target = rows[Math.max(0, Math.min(rows.length - 1, next))];
      target.focus({ preventScroll: true });
      showRow(target);
      choose(target);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  });
  byId("clips-filter").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    all.forEach((row) => {
      row.hidden = !row.dataset.clip.toLowerCase().includes(wanted);
    });
    const rows = visible();
    if (rows.length) makeFocusable(chosen && !chosen.hidden ? chosen : rows[0]);
    count();
  });
  count();
  return {
    chooseFirst() {
      const first = all.find((row) => report.traces[row.dataset.index]) || all[0];
      if (first) choose(first);
    },
    // The next row in the order shown that has traces, or null.
    neighbour(step) {
      const rows = visible();
      for (let at = rows.indexOf(chosen) + step; at >= 0 && at < rows.length; at += step)
        if (report.traces[rows[at].dataset.index]) return rows[at];
      return null;
    },
    choose,
  };
}
