// Usage: what each key used and what it cost, as far as the server knows.
import { get } from "./api.js";
import { seriesColour, TimeChart } from "./charts.js";
import { choice, empty, h, setText } from "./dom.js";
import { money, moment, number, span, t } from "./words.js";

const HOURS = { "24h": 24, "7d": 168, "30d": 720 };
const CHARTED = 6;
let range = "24h";

const keyName = (one) => one.key || t("no_key");

// The tokens of the keys by hours: the largest keys alone, the rest together.
function columns(answer) {
  const now = Math.floor(Date.now() / 3.6e6) * 3600;
  const times = Array.from({ length: answer.hours }, (_, i) => now - (answer.hours - 1 - i) * 3600);
  const since = answer.since ? Math.floor(Date.parse(answer.since) / 3.6e6) * 3600 : Infinity;
  const place = new Map(times.map((at, i) => [at, i]));
  const groups = answer.keys.slice(0, CHARTED).map((one) => ({ label: keyName(one), keys: [one] }));
  if (answer.keys.length > CHARTED)
    groups.push({ label: t("others"), keys: answer.keys.slice(CHARTED) });
  return { times, groups: groups.map(({ label, keys }) => {
    // Before the server counted, nothing is known; that is not 0.
    const values = times.map((at) => (at < since ? null : 0));
    for (const key of keys) {
      for (const one of key.hours) {
        const i = place.get(Date.parse(one.from) / 1000);
        if (i !== undefined) values[i] = (values[i] ?? 0) + one.prompt_tokens + one.generated_tokens;
      }
    }
    return { label, values };
  }) };
}

function cost(one) {
  const parts = [];
  if (one.cost_usd !== null) parts.push(money(one.cost_usd));
  if (one.unpriced_seconds > 0 && one.cost_usd === null) parts.push(t("no_price"));
  return parts.join(" + ") || "–";
}

function cells(one) {
  const but = ["failed", "canceled"].filter((name) => one[name] > 0)
    .map((name) => h("div", { class: "small dim" }, `${number(one[name])} ${t(`s_${name}`)}`));
  const ended = [number(one.completed + one.failed + one.canceled), ...but];
  return [ended, number(one.prompt_tokens), number(one.generated_tokens),
    span(one.device_seconds), cost(one)].map((text) => h("td", { class: "n" }, text));
}

function sum(keys) {
  const total = { completed: 0, failed: 0, canceled: 0, prompt_tokens: 0, generated_tokens: 0,
    device_seconds: 0, cost_usd: null, unpriced_seconds: 0 };
  for (const { total: one } of keys)
    for (const name of Object.keys(total))
      if (one[name] !== null) total[name] = (total[name] ?? 0) + one[name];
  return total;
}

function table(keys) {
  const heads = ["requests_ended", "prompt_tokens", "generated_tokens", "device_time", "cost"];
  return h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": t("usage") },
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("key")),
      heads.map((one) => h("th", { scope: "col", class: "n" }, t(one))))),
    h("tbody", {}, keys.map((one) => h("tr", {}, h("th", { scope: "row" }, keyName(one)), cells(one.total))),
      keys.length > 1 && h("tr", {}, h("th", { scope: "row" }, t("sum")), cells(sum(keys))))));
}

export function usageView() {
  const body = h("div", { class: "stack" }, h("p", { class: "dim" }, t("loading")));
  const chart = new TimeChart({ title: t("chart_usage"), series: [], format: (v) => number(v) });
  chart.element.hidden = true;
  const notes = h("section", { class: "card stack small", hidden: true });
  notes.style.gap = "6px";
  let beat = 0;
  let asked = 0;
  const load = async () => {
    const own = ++asked;
    try {
      const answer = await get(`/api/v1/usage?hours=${HOURS[range]}`);
      if (own !== asked) return;
      const any = answer.keys.length > 0;
      body.replaceChildren(any ? h("section", { class: "card" }, table(answer.keys))
        : empty(t("no_usage"), t("no_usage_text")));
      chart.element.hidden = !any;
      const { times, groups } = columns(answer);
      chart.setSeries(groups.map(({ label }, i) => ({ label, colour: seriesColour(i), fill: i === 0 })));
      chart.update(times, groups.map(({ values }) => values));
      const gap = answer.since && Date.now() - Date.parse(answer.since) < HOURS[range] * 3.6e6;
      const total = sum(answer.keys);
      notes.hidden = false;
      notes.replaceChildren(...[
        answer.since && `${t("usage_since", { at: moment(answer.since) })} ${t("usage_kept")} ${t("usage_not_kept")}`,
        gap && t("usage_gap"), total.cost_usd !== null && t("cost_text"),
        total.unpriced_seconds > 0 && t("price_missing"), `${t("spot")}: ${t("spot_text")}`,
      ].filter(Boolean).map((text) => h("p", { class: "dim" }, text)));
    } catch (error) {
      if (own !== asked) return;
      chart.element.hidden = true;
      notes.hidden = true;
      body.replaceChildren(empty(t("failed_to_load"), h("div", {}, h("p", {}, error.message),
        h("p", {}, h("button", { type: "button", onclick: load }, t("try_again"))))));
    }
  };
  const element = h("div", {},
    h("div", { class: "head" }, h("h1", {}, t("usage")),
      choice(t("span"), Object.keys(HOURS).map((name) => [name, t(`span_${name}`)]), range, (name) => {
        range = name;
        load();
      })),
    h("div", { class: "stack" }, body, chart.element, notes));
  load();
  return {
    element,
    update() {
      if (++beat % 15 === 0 && !document.hidden) load();
    },
    close: () => {
      ++asked;
      chart.close();
    },
  };
}
