// Time charts: uPlot with the page's colours, a legend in words, and a sentence for screen readers.
import { h, setText } from "./dom.js";
import { clock, t, time } from "./words.js";

const charts = new Set();

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const seriesColour = (i) => `--s${(i % 8) + 1}`;

// Draws all charts anew, as after a change of colours or words.
export function redrawAll() {
  for (const chart of charts) chart.rebuild();
}
const POWERS = Array.from({ length: 50 }, (_, i) => 2 ** i);
const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", redrawAll);

const sizes = new ResizeObserver((entries) => {
  for (const entry of entries) entry.target.chart?.resize();
});

// The places of values without a neighbour, which no line shows.
function lone(column) {
  const known = (i) => column[i] !== null && column[i] !== undefined;
  const places = [];
  column.forEach((_, i) => known(i) && !known(i - 1) && !known(i + 1) && places.push(i));
  return places;
}

// A chart of lines over time.  `series`: [{label, colour: "--s1", fill}]; `format`: of a value;
// `max`: of the axis, where it is fixed; `low`: a lower
// one; `binary`: marks at powers of two.
export class TimeChart {
  constructor({ title, series, format, max, low, binary }) {
    Object.assign(this, { title, format, max, binary, series: [], data: [[]] });
    this.plot = h("div", { class: low ? "plot low" : "plot", role: "img" });
    this.plot.chart = this;
    this.keys = h("ul", { class: "keys" });
    this.none = h("div", { class: "none", hidden: true }, t("no_values"));
    this.heading = h("h2", {}, title);
    this.element = h("section", { class: "card chart" },
      h("div", { class: "spread" }, this.heading, this.keys), this.plot, this.none);
    sizes.observe(this.plot);
    charts.add(this);
    this.setSeries(series);
  }
  close() {
    charts.delete(this);
    sizes.unobserve(this.plot);
    this.chart?.destroy();
  }
  setSeries(series) {
    const same = JSON.stringify(series) === JSON.stringify(this.series);
    if (same) return;
    this.series = series;
    this.values = series.map(() => h("b", {}, "–"));
    this.keys.replaceChildren(...series.map((one, i) => {
      const dot = h("span", { class: "dot" });
      dot.style.background = `var(${one.colour})`;
      return h("li", {}, dot, one.label, this.values[i]);
    }));
    this.rebuild();
  }
  rebuild() {
    this.chart?.destroy();
    this.chart = null;
    this.draw();
  }
  resize() {
    const { clientWidth: width, clientHeight: height } = this.plot;
    if (!this.chart) this.draw();
    else if (width > 0) this.chart.setSize({ width, height });
  }
  // `times` in seconds; `columns`: one list per series, null where nothing was measured.
  update(times, columns) {
    this.data = [times, ...this.series.map((_, i) => columns[i] ?? times.map(() => null))];
    if (this.chart) this.chart.setData(this.data);
    else this.draw();
    this.tell();
  }
  tell() {
    const at = this.chart?.cursor.idx;
    const sentences = [];
    let any = false;
    this.series.forEach((one, i) => {
      const column = this.data[i + 1] ?? [];
      const known = column.filter((value) => value !== null);
      any ||= known.length > 0;
      const value = at === null || at === undefined ? known.at(-1) : column[at];
      setText(this.values[i], value === undefined || value === null ? "–" : this.format(value));
      if (known.length > 0)
        sentences.push(t("chart_series", {
          label: one.label, last: this.format(known.at(-1)),
          least: this.format(known.reduce((a, b) => Math.min(a, b))),
          most: this.format(known.reduce((a, b) => Math.max(a, b))),
        }));
    });
    this.none.hidden = any;
    const label = `${this.title}. ${sentences.join(" ") || t("no_values")}`;
    if (this.plot.getAttribute("aria-label") !== label) this.plot.setAttribute("aria-label", label);
  }
  draw() {
    const width = this.plot.clientWidth;
    if (width === 0 || !window.uPlot) return;
    const dim = colour("--dim");
    const grid = { stroke: colour("--grid"), width: 1 };
    const axis = { stroke: dim, grid, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const phone = width < 420;
    this.chart = new window.uPlot({
      width, height: this.plot.clientHeight, legend: { show: false }, padding: [8, 6, 0, 0],
      cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
      scales: {
        // A server that has just begun has a minute in sight, too.
        x: { time: true, range: (_, first, last) => (last === null || last === undefined
          ? [Date.now() / 1000 - 60, Date.now() / 1000] : [Math.min(first, last - 60), last]) },
        y: { range: (_, low, high) => [0, this.max ?? (high > 0 ? high * 1.1 : 1)] },
      },
      axes: [
        { ...axis, space: phone ? 70 : 90, size: 26, grid: { show: false },
          values: (_, splits) => splits.map((at) =>
            (splits[1] - splits[0] < 60 ? clock : time)(at * 1000)) },
        { ...axis, size: 62, gap: 4, space: 34, incrs: this.binary ? POWERS : undefined,
          values: (_, splits) => splits.map((value) => this.format(value)) },
      ],
      series: [{}, ...this.series.map((one) => ({
        label: one.label, stroke: colour(one.colour), width: 1.75, 
        points: { show: true, size: 5, fill: colour(one.colour), filter: (u, i) => lone(u.data[i]) },
        fill: one.fill ? `${colour(one.colour)}22` : undefined, spanGaps: false,
      }))],
      hooks: { setCursor: [() => this.tell()] },
    }, this.data, this.plot);
  }
}
