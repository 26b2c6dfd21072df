// Overview: the queue first, then speed, latencies and the requests that run.
import { seriesColour, TimeChart } from "./charts.js";
import { choice, Children, empty, h, setClass, setText } from "./dom.js";
import { history, live } from "./live.js";
import { number, rate, span, t } from "./words.js";

let range = "30m";  // What the charts show, kept from visit to visit.

// The part of a history that a range shows.
export function ranged(name) {
  const past = history(name === "24h" ? "day" : "fine");
  const seconds = { "5m": 300, "30m": 1800, "24h": 86400 }[name];
  const times = past.columns.time;
  const last = times.at(-1) ?? 0;
  let first = times.length;
  while (first > 0 && times[first - 1] > last - seconds) --first;
  const cut = (column) => (column ?? times.map(() => null)).slice(first);
  return { times: times.slice(first), column: (name) => cut(past.columns[name]),
    devices: past.devices, cut };
}

export function rangeChoice(value, onpick) {
  return choice(t("span"), ["5m", "30m", "24h"].map((name) => [name, t(`span_${name}`)]), value, onpick);
}

function fact(first) {
  const value = h("span", {});
  const unit = h("span", { class: "unit" });
  const label = h("div", { class: "label" });
  const element = h("div", { class: "card fact" }, h("div", { class: "value" }, value, unit), label);
  return {
    element,
    set(text, unitText, labelText, busy) {
      setText(value, text);
      setText(unit, unitText);
      setText(label, labelText);
      setClass(element, `card fact${first ? " first" : ""}${busy ? " busy" : ""}`);
    },
  };
}

const LATENCIES = ["queue", "first_token", "inter_token", "total"];

function latencyTable() {
  const rows = LATENCIES.map((name) => ({ name, cells: [0, 1, 2, 3].map(() => h("td", { class: "n" })) }));
  const title = h("span", { class: "dim small" });
  const element = h("section", { class: "card" },
    h("div", { class: "spread" }, h("h2", {}, t("latency")), title),
    h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": t("latency") }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("measured")),
        ["p50", "p95", "p99", "count"].map((name) => h("th", { scope: "col", class: "n" }, t(name))))),
      h("tbody", {}, rows.map(({ name, cells }) =>
        h("tr", {}, h("th", { scope: "row" }, t(`lat_${name}`)), cells))))));
  return {
    element,
    update(latency) {
      setText(title, t("latency_window", { n: latency.window_s / 60 }));
      for (const { name, cells } of rows) {
        const one = latency[name];
        [span(one.p50), span(one.p95), span(one.p99), number(one.count)].forEach((text, i) =>
          setText(cells[i], text));
      }
    },
  };
}

// The requests that run, each with its speed.
function requestTable() {
  const body = h("tbody", {});
  const more = h("p", { class: "dim small", hidden: true });
  const none = empty(t("no_requests"), t("no_requests_text"));
  const table = h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": t("requests") },
    h("table", {}, h("thead", {}, h("tr", {},
      h("th", { scope: "col" }, t("request")), h("th", { scope: "col" }, t("deployment")),
      h("th", { scope: "col" }, t("device_short")),
      ["since", "prompt", "generated", "speed"].map((name) =>
        h("th", { scope: "col", class: "n" }, t(name))))), body));
  const rows = new Children(body, (one) => one.task_id, (one) => {
    const short = `${one.task_id.slice(0, 8)}…`;
    const id = one.durable
      ? h("a", { href: `#/tasks/${one.task_id}`, class: "mono", title: one.task_id }, short)
      : h("span", { class: "mono", title: one.task_id }, short);
    const cells = [0, 1, 2, 3].map(() => h("td", { class: "n" }));
    const where = h("td", {});
    const name = one.key ? `${one.deployment} · ${one.key}` : one.deployment;
    return {
      element: h("tr", {}, h("td", {}, id), h("td", {}, name), where, cells),
      update(now) {
        setText(where, now.gpu_id);
        const runs = (Date.parse(live.now.at) - Date.parse(now.created_at)) / 1000;
        [span(Math.max(0, runs)), number(now.prompt_tokens), number(now.generated_tokens),
          rate(now.tokens_per_second)].forEach((text, i) => setText(cells[i], text));
      },
    };
  });
  return {
    element: h("section", { class: "card" }, h("h2", {}, t("requests")), none, table, more),
    update(requests, running) {
      none.hidden = requests.length > 0;
      table.hidden = requests.length === 0;
      rows.update(requests.slice(0, 50));
      more.hidden = running <= Math.min(requests.length, 50) || requests.length === 0;
      setText(more, t("requests_more", { n: Math.min(requests.length, 50) }));
    },
  };
}

export function overviewView() {
  const facts = [fact(true), fact(), fact(), fact()];
  const table = latencyTable();
  const requests = requestTable();
  const quantiles = ["p50", "p95", "p99"];
  const latencyChart = (name) => ({
    chart: new TimeChart({ title: t(`chart_${name}`), format: span, low: true,
      series: quantiles.map((q, i) => ({ label: q, colour: seriesColour(i) })) }),
    columns: quantiles.map((q) => `${name}_${q}`),
  });
  const charts = [
    { chart: new TimeChart({ title: t("chart_queue"), format: (v) => number(v, 1), series: [
      { label: t("s_waiting"), colour: "--s2", fill: true },
      { label: t("s_running"), colour: "--s1" }] }), columns: ["waiting", "running"] },
    { chart: new TimeChart({ title: t("chart_tokens"), format: rate, series: [
      { label: t("tokens_s"), colour: "--s1", fill: true }] }), columns: ["tokens"] },
    latencyChart("first_token"), latencyChart("inter_token"), latencyChart("total"),
    { chart: new TimeChart({ title: t("chart_ended"), format: rate, low: true, series: [
      { label: t("s_completed"), colour: "--s3" }, { label: t("s_failed"), colour: "--s7" },
      { label: t("s_canceled"), colour: "--s2" }] }), columns: ["completed", "failed", "canceled"] },
  ];
  const draw = () => {
    const past = ranged(range);
    for (const { chart, columns } of charts) chart.update(past.times, columns.map(past.column));
  };
  const element = h("div", {},
    h("div", { class: "head" }, h("h1", {}, t("overview")), rangeChoice(range, (name) => {
      range = name;
      draw();
    })),
    h("div", { class: "stack" }, h("div", { class: "facts" }, facts.map((one) => one.element)),
      h("div", { class: "two" }, charts[0].chart.element, charts[1].chart.element),
      table.element,
      h("div", { class: "two" }, charts.slice(2).map((one) => one.chart.element)),
      requests.element));
  return {
    element,
    update({ now }) {
      facts[0].set(number(now.waiting), "", t("waiting_label"), now.waiting > 0);
      facts[1].set(number(now.running), "", t("running_label"));
      facts[2].set(rate(now.rates.tokens), t("tokens_s"), t("tokens_now"));
      facts[3].set(rate(now.rates.completed), "",
        now.rates.failed > 0 ? t("failed_now", { n: rate(now.rates.failed) }) : t("ended_now"));
      table.update(now.latency);
      requests.update(now.requests, now.running);
      draw();
    },
    close() {
      for (const { chart } of charts) chart.close();
    },
  };
}
