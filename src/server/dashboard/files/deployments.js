// Deployments: their replicas, and what changed when and why.
import { Children, h, pill, s, setClass, setText } from "./dom.js";
import { history } from "./live.js";
import { rangeChoice } from "./overview.js";
import { moment, number, strategyName, t, time, word } from "./words.js";

let range = "30m";
const SECONDS = { "5m": 300, "30m": 1800, "24h": 86400 };
const KIND = { RUNNING: "good", HEALTHY: "good", LOADING: "warn", STARTING: "warn", STOPPING: "warn",
  UPDATING: "warn", UPSCALING: "warn", DOWNSCALING: "warn", BACKOFF: "bad", STOPPED: "bad", UNHEALTHY: "bad", REMOVED: "plain" };
const FILL = { good: "--s3", warn: "--s2", bad: "--s7", plain: "--soft" };
const LISTED = 200;

const stateWord = (state) => word(`st_${state}`, state);

function replicaRow(one) {
  const cells = [0, 1, 2, 3, 4, 5].map((i) => h("td", { class: i === 0 || i === 1 ? "" : "n" }));
  const state = h("span", {});
  const why = h("div", { class: "small dim" });
  cells[0].append(state, why);
  return {
    element: h("tr", {}, h("th", { scope: "row" }, t("replica", { n: one.place })), cells),
    update({ replica }) {
      setText(state, stateWord(replica.state));
      setClass(state, `pill ${KIND[replica.state] ?? ""}`);
      const loading = replica.loading
        ? `${replica.loading.phase} ${number(replica.loading.fraction * 100)} %` : "";
      setText(why, [replica.message, loading].filter(Boolean).join(" · "));
      setText(cells[1], replica.devices.join(", "));
      setText(cells[2], t("of", { a: number(replica.running), b: number(replica.max_sequences) }));
      setText(cells[3], replica.kv_tokens
        ? t("of", { a: number(replica.kv_tokens_free), b: number(replica.kv_tokens) }) : "–");
      setText(cells[4], number(replica.restarts));
      setText(cells[5], replica.pid || "–");
    },
  };
}

function deploymentCard({ name }) {
  const state = h("span", {});
  const about = h("p", { class: "small dim" });
  const message = h("p", { class: "note bad", hidden: true });
  const body = h("tbody", {});
  const rows = new Children(body, (one) => one.place, replicaRow);
  const heads = ["state", "device_short", "sequences", "kv_free", "restarts", "process"];
  return {
    element: h("section", { class: "card stack" },
      h("div", { class: "spread" }, h("h2", {}, name), state), about, message,
      h("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": name }, h("table", {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("replicas")), heads.map((one, i) =>
          h("th", { scope: "col", class: i < 2 ? "" : "n" }, t(one))))), body))),
    update({ one }) {
      setText(state, word(`dep_${one.status}`, one.status));
      setClass(state, `pill ${KIND[one.status] ?? ""}`);
      const context = Math.max(0, ...one.replicas.map((replica) => replica.max_model_len));
      setText(about, [one.model && `${t("model")}: ${one.model}`,
        context > 0 && `${t("context")}: ${number(context)}`,
        t("wanted", { a: number(one.target_replicas), b: number(one.max_replicas) }),
        one.autoscaled && t(one.held ? "held" : "by_load"),
        one.adapters.length > 0 && `${t("adapters")}: ${one.adapters.join(", ")}`]
        .filter(Boolean).join(" · "));
      about.hidden = about.textContent === "";
      message.hidden = !one.message;
      setText(message, one.message);
      rows.update(one.replicas.map((replica) => ({ place: replica.place, replica })));
    },
  };
}

const replicaName = (deployment, place) => `${deployment} · ${t("replica", { n: place })}`;

// Each replica's states as bands from `first` to `last`, in seconds.
function bandsOf(changes, now, first, last) {
  const lanes = new Map();
  for (const [name, one] of Object.entries(now.deployments))
    one.replicas.forEach((replica) => lanes.set(`${name}/${replica.place}`, {
      name: replicaName(name, replica.place), state: replica.state, changes: [] }));
  for (const one of changes) {
    if (one.what !== "replica") continue;
    const key = `${one.deployment}/${one.replica}`;
    if (!lanes.has(key))
      lanes.set(key, { name: replicaName(one.deployment, one.replica), state: one.value, changes: [] });
    lanes.get(key).changes.push({ ...one, time: Date.parse(one.at) / 1000 });
  }
  return [...lanes].map(([key, lane]) => {
    const bands = [];
    lane.changes.forEach((change, i) => {
      const until = lane.changes[i + 1]?.time ?? last;
      if (until > first) bands.push({ from: Math.max(first, change.time), until, ...change });
    });
    // Without a change on record it was as it is.
    if (lane.changes.length === 0) bands.push({ from: first, until: last, value: lane.state });
    return { key, name: lane.name, bands };
  });
}

function lane({ name }) {
  const svg = s("svg", { viewBox: "0 0 1000 24", preserveAspectRatio: "none", role: "img" });
  let drawn = "";
  return {
    element: h("div", { class: "lane" }, h("div", { class: "name", title: name }, name), svg),
    update({ bands, first, last }) {
      const x = (at) => (1000 * (at - first)) / (last - first);
      const key = bands.map((one) => `${one.value}${x(one.from).toFixed(1)}`).join();
      if (key === drawn) return;
      drawn = key;
      svg.replaceChildren(...bands.map((one) => {
        const rect = s("rect", { x: x(one.from), y: 0, height: 24,
          width: Math.max(2, x(one.until) - x(one.from)) },
        s("title", {}, [stateWord(one.value), one.at && moment(one.at), one.reason]
          .filter(Boolean).join(" · ")));
        rect.style.fill = `var(${FILL[KIND[one.value] ?? "plain"]})`;
        return rect;
      }));
      svg.setAttribute("aria-label", t("timeline_label", { name,
        states: bands.map((one) => `${time(one.from * 1000)} ${stateWord(one.value)}`).join(", ") }));
    },
  };
}

function changeRow(one) {
  const what = one.what === "replica"
    ? replicaName(one.deployment, one.replica)
    : [one.deployment, t(`ch_${one.what}`)].filter(Boolean).join(" · ");
  const value = one.what === "replica" ? pill(KIND[one.value] ?? "", stateWord(one.value))
    : one.value ? pill("plain", one.what === "strategy" ? strategyName(one.value) : one.value)
      : pill("warn", what);
  return { element: h("li", {}, h("span", { class: "dim small num" }, moment(one.at)), value,
    h("span", {}, one.what === "replica" || one.value ? what : ""), one.reason && h("span", { class: "why small dim" }, one.reason)) };
}

export function deploymentsView() {
  const cards = h("div", { class: "stack" });
  const list = new Children(cards, (one) => one.name, deploymentCard);
  const lanes = h("div", { class: "stack" });
  lanes.style.gap = "8px";
  const laneList = new Children(lanes, (one) => one.key, lane);
  const axis = h("div", { class: "axis" });
  const log = h("ul", { class: "log", tabIndex: 0, "aria-label": t("changes") });
  const logList = new Children(log, (one) => one.number, changeRow);
  const none = h("p", { class: "dim", hidden: true }, t("no_changes"));
  let latest = null;
  const draw = () => {
    if (!latest?.now) return;
    const last = Date.parse(latest.now.at) / 1000;
    const first = last - SECONDS[range];
    // The day's changes come with its history; newer ones come live.
    const past = range === "24h" ? history("day").changes ?? [] : [];
    const known = latest.changes[0]?.number ?? Infinity;
    const changes = [...past.filter((one) => one.number < known), ...latest.changes];
    laneList.update(bandsOf(changes, latest.now, first, last).map((one) => ({ ...one, first, last })));
    const marks = [0, 1, 2, 3, 4].map((i) => time((first + ((last - first) * i) / 4) * 1000));
    if (axis.textContent !== marks.join("")) axis.replaceChildren(...marks.map((one) => h("span", {}, one)));
    const shown = changes.filter((one) => Date.parse(one.at) / 1000 >= first).slice(-LISTED).reverse();
    logList.update(shown);
    none.hidden = shown.length > 0;
    log.hidden = shown.length === 0;
  };
  const element = h("div", {},
    h("div", { class: "head" }, h("h1", {}, t("deployments")), rangeChoice(range, (name) => {
      range = name;
      draw();
    })),
    h("div", { class: "stack" }, cards,
      h("section", { class: "card stack" }, h("h2", {}, t("timeline")), lanes,
        h("div", { class: "lane", "aria-hidden": "true" }, h("span", {}), axis)),
      h("section", { class: "card stack" }, h("h2", {}, t("changes")),
        none, log)));
  return {
    element,
    update(live) {
      latest = live;
      list.update(Object.entries(live.now.deployments).map(([name, one]) => ({ name, one })));
      draw();
    },
  };
}
