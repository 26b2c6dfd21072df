// Devices: what each computes, holds and measures, and how the next one is chosen.
import { get, send } from "./api.js";
import { seriesColour, TimeChart } from "./charts.js";
import { Children, h, pill, setClass, setText, setWidth } from "./dom.js";
import { rangeChoice, ranged } from "./overview.js";
import { bytes, number, percent, strategyName, t } from "./words.js";

let range = "30m";
const CHARTED = 8;
const degrees = (value) => `${number(value)} °C`;
const watts = (value) => `${number(value, value < 100 ? 1 : 0)} W`;

// Colours of what holds memory: by kind, lighter for further deployments.
const MEMORY = { weights: "--s1", activations: "--s5", kv: "--s3", reservations: "--s2" };

function meter(label) {
  const value = h("div", { class: "value" });
  return { value, element: h("div", {}, h("div", { class: "label" }, label), value) };
}

function deviceCard(device) {
  const state = h("span", {});
  const load = h("b", {});
  const loadBar = h("i", {});
  loadBar.style.background = "var(--s1)";
  const memory = h("b", {});
  const memoryBar = h("div", { class: "bar", role: "img" });
  const memoryKeys = h("ul", { class: "keys" });
  const shares = new Children(memoryBar, (one) => one.key, (one) => {
    const element = h("i", {});
    element.style.background = `var(${one.colour})`;
    return { element, update: (now) => setWidth(element, now.percent) };
  });
  const keys = new Children(memoryKeys, (one) => one.key, (one) => {
    const dot = h("span", { class: "dot" });
    dot.style.background = `var(${one.colour})`;
    const value = h("b", {});
    return { element: h("li", {}, dot, one.label, value),
      update: (now) => setText(value, bytes(now.bytes)) };
  });
  const meters = [meter(t("running")), meter(t("queue")), meter(t("temperature")), meter(t("power"))];
  const runs = h("p", { class: "small dim" });
  const element = h("section", { class: "card stack" },
    h("div", { class: "spread" }, h("h2", {}, t("device", { id: device.id })), state),
    h("p", { class: "dim small" }, `${device.name} · ${device.kind}`),
    h("div", {}, h("div", { class: "spread small" }, t("utilization"), load), h("div", { class: "bar" }, loadBar)),
    h("div", {}, h("div", { class: "spread small" }, t("memory"), memory), memoryBar, memoryKeys),
    h("div", { class: "meters" }, meters.map((one) => one.element)), runs);
  return {
    element,
    update(now) {
      const text = now.healthy ? t("healthy") : t("unhealthy");
      setText(state, text);
      setClass(state, `pill ${now.healthy ? "good" : "bad"}`);
      setText(load, percent(now.utilization));
      setWidth(loadBar, now.utilization);
      setText(memory, t("of", { a: bytes(now.memory_used), b: bytes(now.memory_total) }));
      const items = now.memory.map((one) => ({
        key: `${one.owner}/${one.what}`, colour: MEMORY[one.what], bytes: one.bytes,
        label: one.owner ? `${one.owner} ${t(`mem_${one.what}`)}` : t(`mem_${one.what}`),
        percent: (100 * one.bytes) / now.memory_total,
      }));
      shares.update(items);
      keys.update([...items, { key: "free", colour: "--soft", label: t("mem_free"),
        bytes: Math.max(0, now.memory_total - now.memory_used) }]);
      memoryBar.setAttribute("aria-label", [t("memory"), ...items.map((one) =>
        `${one.label} ${bytes(one.bytes)}`)].join(", "));
      [number(now.task_count - now.queued_count), number(now.queued_count),
        now.temperature === null ? t("not_measured") : degrees(now.temperature),
        now.power === null ? t("not_measured") : watts(now.power)].forEach((value, i) => {
        setText(meters[i].value, value);
        setClass(meters[i].value, value === t("not_measured") ? "value dim small" : "value");
      });
      setText(runs, `${t("runs_on")}: ${now.deployments.join(", ") || t("nothing_runs_here")}`);
    },
  };
}

function strategyCard(me) {
  const field = h("select", { id: "strategy", disabled: true });
  const said = h("p", { class: "small", role: "status" });
  let current = "";
  const allow = () => {
    field.disabled = me.role !== "admin" || field.options.length === 0;
    if (me.role !== "admin") setText(said, t("only_admin"));
  };
  const fill = async () => {
    try {
      const answer = await get("/api/v1/config/gpu/strategy");
      current = answer.strategy;
      field.replaceChildren(...answer.strategies.map((name) =>
        h("option", { value: name, selected: name === current }, strategyName(name))));
      allow();
    } catch (error) {
      setText(said, error.message);
    }
  };
  field.addEventListener("change", async () => {
    const wanted = field.value;
    try {
      const answer = await (await send("/api/v1/config/gpu/strategy",
        { method: "POST", body: { strategy: wanted } })).json();
      current = answer.strategy;
      setText(said, t("strategy_set", { name: strategyName(current) }));
    } catch (error) {
      field.value = current;
      setText(said, error.message);
    }
  });
  fill();
  return {
    element: h("section", { class: "card" }, h("div", { class: "row" },
      h("label", { class: "field", htmlFor: "strategy" }, t("strategy_text"), field), said)),
    identify: allow,
    // Another admin, or a reload, may have changed it.
    update(now) {
      if (now === current || document.activeElement === field || field.options.length === 0) return;
      current = now;
      field.value = now;
    },
  };
}

export function devicesView(me) {
  const strategy = strategyCard(me);
  const cards = h("div", { class: "grid" });
  const list = new Children(cards, (one) => one.id, deviceCard);
  const chart = (name, format, max) => ({ name, chart: new TimeChart({ series: [], format, max,
    title: t(name === "memory_used" ? "memory" : name), low: true, binary: format === bytes }) });
  const charts = [chart("utilization", percent, 100), chart("memory_used", bytes),
    chart("temperature", degrees), chart("power", watts)];
  const note = h("p", { class: "dim small", hidden: true });
  const draw = () => {
    const past = ranged(range);
    const devices = past.devices.slice(0, CHARTED);
    const series = devices.map((one, i) => ({ label: t("device", { id: one.id }), colour: seriesColour(i) }));
    let measured = false;
    for (const { name, chart } of charts) {
      const columns = devices.map((one) => past.cut(one[name]));
      const known = columns.some((column) => column.some((value) => value !== null));
      const always = name === "utilization" || name === "memory_used";
      chart.element.hidden = !known && !always;
      measured ||= known && !always;
      chart.setSeries(series);
      chart.update(past.times, columns);
    }
    const notes = [];
    if (past.devices.length > CHARTED) notes.push(t("first_devices", { n: CHARTED }));
    if (!measured) notes.push(t("no_temperature"));
    note.hidden = notes.length === 0;
    setText(note, notes.join(" "));
  };
  const element = h("div", {},
    h("div", { class: "head" }, h("h1", {}, t("devices")), rangeChoice(range, (name) => {
      range = name;
      draw();
    })),
    h("div", { class: "stack" }, strategy.element, cards,
      h("div", { class: "two" }, charts.map((one) => one.chart.element)), note));
  return {
    element,
    identify: strategy.identify,
    update({ now }) {
      list.update(now.devices);
      strategy.update(now.strategy);
      draw();
    },
    close() {
      for (const { chart } of charts) chart.close();
    },
  };
}
