"use strict";
// Draws the figures, sorts the tables and saves them as CSV. Everything is in this file; nothing is fetched.
(() => {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const drawn = [];

  function colours(isDark) {
    return isDark
      ? { text: "#e8edf3", line: "#36414e", panel: "#1a212b" }
      : { text: "#1b2430", line: "#d5dbe3", panel: "#ffffff" };
  }

  /** The layout's colours as flat keys, for Plotly.relayout: text, axes, hover box. */
  function theme(layout, isDark) {
    const c = colours(isDark);
    const changes = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", "font.color": c.text,
      "hoverlabel.bgcolor": c.panel, "hoverlabel.font.color": c.text, "hoverlabel.bordercolor": c.line,
      "modebar.color": c.text, "modebar.bgcolor": "rgba(0,0,0,0)",
    };
    for (const key of new Set([...Object.keys(layout).filter((k) => /^[xy]axis\d*$/.test(k)), "xaxis", "yaxis"])) {
      changes[`${key}.gridcolor`] = c.line;
      changes[`${key}.linecolor`] = c.line;
      changes[`${key}.zerolinecolor`] = c.line;
    }
    return changes;
  }

  function draw(place) {
    const figure = JSON.parse(document.getElementById(`${place.id}-data`).textContent);
    const options = {
      responsive: true, displaylogo: false, scrollZoom: false,
      toImageButtonOptions: { format: "png", filename: place.id, scale: 2 },
    };
    drawn.push(place);
    place.style.height = `${figure.layout.height}px`; // Plotly takes the height of its place when the window changes
    return Plotly.newPlot(place, figure.data, { ...figure.layout, autosize: true }, options)
      .then(() => Plotly.relayout(place, theme(place.layout, dark.matches)));
  }

  function recolour(isDark) {
    for (const place of drawn) Plotly.relayout(place, theme(place.layout, isDark));
  }

  /** What a cell sorts by: the number that it was made from, else its text. */
  function key(row, column) {
    const cell = row.cells[column];
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    return cell.textContent === "" ? null : cell.textContent;
  }

  function sort(table, column, head) {
    const down = head.getAttribute("aria-sort") === "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "ascending" : "descending");
    const sign = down ? 1 : -1;
    const rows = [...table.tBodies[0].rows].map((row) => [key(row, column), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);  // what is missing stays last
      return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
  }

  const formula = new RegExp(`^(?:${document.body.dataset.formula})`, "u");
  const quantity = new RegExp(`^(?:${document.body.dataset.quantity})$`, "u");

  function cellForCsv(cell) {
    let text = cell.dataset.v !== undefined ? cell.dataset.v : cell.textContent;
    if (cell.dataset.v === undefined && formula.test(text) && !quantity.test(text)) text = `'${text}`;  // as profiler/report/spreadsheet.py
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  function save(table, name) {
    const lines = [...table.rows].map((row) => [...row.cells].map(cellForCsv).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
    link.download = `${name}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => sort(table, column, head));
    });
  }
  for (const button of document.querySelectorAll("button.save")) {
    button.addEventListener("click", () => save(document.getElementById(`table-${button.dataset.name}`), button.dataset.name));
  }
  const plots = [...document.querySelectorAll(".plot")].map(draw);
  dark.addEventListener("change", (event) => recolour(event.matches));
  window.addEventListener("beforeprint", () => recolour(false));
  window.addEventListener("afterprint", () => recolour(dark.matches));
  Promise.all(plots).then(() => document.documentElement.setAttribute("data-drawn", String(plots.length)));
})();
