// Chat: one model, or two side by side that get the same messages.
import { events, get } from "./api.js";
import { empty, h, setText } from "./dom.js";
import { number, rate, span, t } from "./words.js";

// What was said stays while other views are looked at, and no longer than the page.
const kept = { system: "", draft: "", temperature: 0.7, most: 512, two: false, sides: [] };

// Shows a text with its fenced blocks of code set apart.
function show(element, text) {
  const parts = text.split(/^```[^\n]*\n?/m);
  element.replaceChildren(...parts.filter((part, i) => part || i === 0).map((part, i) =>
    i % 2 === 1 ? h("pre", { tabIndex: 0 }, h("code", {}, part.replace(/\n$/, "")))
      : parts.length > 1 ? part.replace(/^\n+|\n+$/g, "") : part));
}

// One turn of a conversation: {role, content, thinking, meta, failed}.
function turnElement(turn) {
  const say = h("div", { class: "say" });
  const thinking = h("details", { hidden: true }, h("summary", {}, t("thinking")), h("div", { class: "say" }));
  const meta = h("div", { class: "meta" });
  const element = h("div", { class: `turn ${turn.role}` },
    h("span", { class: "hide" }, t(turn.role === "user" ? "you" : "answer")), thinking, say, meta);
  const draw = () => {
    element.classList.toggle("failed", Boolean(turn.failed));
    if (turn.role === "user") setText(say, turn.content);
    else show(say, turn.failed && !turn.content ? turn.failed : turn.content || "…");
    thinking.hidden = !turn.thinking;
    if (turn.thinking) setText(thinking.lastChild, turn.thinking);
    setText(meta, [turn.failed && turn.content ? turn.failed : "", turn.meta ?? ""].filter(Boolean).join(" · "));
  };
  draw();
  return { element, draw };
}

// Asks for an answer and writes it into `turn` as it comes.
async function answer(turn, messages, model, draw, signal) {
  const began = performance.now();
  let first = 0;
  let tokens = 0;
  let ended = "";
  const body = { model, messages, stream: true, temperature: kept.temperature,
    max_tokens: kept.most, stream_options: { include_usage: true } };
  try {
    for await (const data of events("/v1/chat/completions", { method: "POST", body, signal })) {
      if (data === "[DONE]") break;
      const piece = JSON.parse(data);
      if (piece.error) throw new Error(piece.error.message ?? piece.error);
      const choice = piece.choices?.[0];
      if (choice?.delta?.reasoning_content) turn.thinking = (turn.thinking ?? "") + choice.delta.reasoning_content;
      if (choice?.delta?.content) turn.content += choice.delta.content;
      if (!first && (turn.content || turn.thinking)) first = performance.now();
      if (choice?.finish_reason) ended = choice.finish_reason;
      if (piece.usage) tokens = piece.usage.completion_tokens;
      draw();
    }
  } catch (error) {
    if (error.name === "AbortError") turn.meta = t("stopped");
    else turn.failed = t("chat_failed", { why: error.message });
    draw();
    return;
  }
  const seconds = (performance.now() - (first || began)) / 1000;
  turn.meta = [t("meta", { n: number(tokens), s: rate(tokens > 1 && seconds > 0 ? (tokens - 1) / seconds : null),
    t: span(((first || performance.now()) - began) / 1000) }), ended === "length" ? t("cut") : ""]
    .filter(Boolean).join(" · ");
  draw();
}

// One conversation with one model.
class Side {
  constructor(models, memory, onchange) {
    Object.assign(this, { memory, onchange, stopper: null });
    memory.turns ??= [];
    if (!models.some((one) => one.id === memory.model)) memory.model = models[0]?.id;
    this.select = h("select", { "aria-label": t("model"), onchange: () => {
      memory.model = this.select.value;
      this.draw();
    } }, models.map(({ id }) => h("option", { value: id, selected: id === memory.model }, id)));
    this.turns = h("div", { class: "turns", role: "log", "aria-live": "off", tabIndex: 0, "aria-label": t("chat") });
    this.again = h("button", { type: "button", onclick: () => this.regenerate() }, t("regenerate"));
    this.element = h("section", { class: "card side" },
      h("div", { class: "spread" }, this.select, this.again), this.turns);
    this.draw();
  }
  get busy() {
    return this.stopper !== null;
  }
  draw() {
    const { turns } = this.memory;
    this.elements = turns.map(turnElement);
    this.turns.replaceChildren(...this.elements.map((one) => one.element));
    if (turns.length === 0)
      this.turns.append(empty(t("chat_empty", { model: this.memory.model }), t("chat_empty_text")));
    this.again.disabled = this.busy || turns.at(-1)?.role !== "assistant";
    this.turns.scrollTop = this.turns.scrollHeight;
  }
  say(text) {
    this.memory.turns.push({ role: "user", content: text });
    return this.ask();
  }
  regenerate() {
    this.memory.turns.pop();
    return this.ask();
  }
  async ask() {
    const { turns, model } = this.memory;
    const messages = turns.filter((one) => !one.failed || one.content)
      .map(({ role, content }) => ({ role, content }));
    if (kept.system.trim()) messages.unshift({ role: "system", content: kept.system.trim() });
    const turn = { role: "assistant", content: "" };
    turns.push(turn);
    this.stopper = new AbortController();
    this.draw();
    this.onchange();
    const own = this.elements.at(-1);
    await answer(turn, messages, model, () => {
      const atEnd = this.turns.scrollTop + this.turns.clientHeight > this.turns.scrollHeight - 60;
      own.draw();
      if (atEnd) this.turns.scrollTop = this.turns.scrollHeight;
    }, this.stopper.signal);
    this.stopper = null;
    this.again.disabled = false;
    this.onchange();
  }
  stop() {
    this.stopper?.abort();
  }
}

function options() {
  const number = (label, name, limits) => h("label", { class: "field" }, t(label), h("input", {
    type: "number", value: kept[name], ...limits, onchange: (event) => {
      const value = Number(event.target.value);
      if (event.target.checkValidity() && event.target.value !== "") kept[name] = value;
      else event.target.value = kept[name];
    } }));
  return h("details", { class: "card" }, h("summary", {}, t("options")), h("div", { class: "stack" },
    h("label", { class: "field" }, t("system_prompt"), h("textarea", { rows: 2, value: kept.system,
      placeholder: t("system_placeholder"), oninput: (event) => {
        kept.system = event.target.value;
      } })),
    h("div", { class: "row" }, number("temperature_label", "temperature", { min: 0, max: 2, step: 0.1 }),
      number("max_tokens", "most", { min: 1, max: 1000000, step: 1 }))));
}

export function chatView() {
  const box = h("div", { class: "chat" }, h("p", { class: "dim" }, t("loading")));
  let sides = [];
  const build = (models) => {
    const grid = h("div", { class: "sides" });
    const text = h("textarea", { rows: 3, "aria-label": t("message"), placeholder: t("message_placeholder"),
      value: kept.draft });
    const button = h("button", { class: "main", type: "submit" });
    const clear = h("button", { type: "button", onclick: () => {
      for (const side of sides) {
        side.stop();
        side.memory.turns.length = 0;
        side.draw();
      }
      text.focus();
    } }, t("clear"));
    const two = h("button", { type: "button", onclick: () => {
      kept.two = !kept.two;
      lay();
    } });
    const said = h("p", { class: "hide", role: "status" });
    const busy = () => sides.some((one) => one.busy);
    const refresh = () => {
      setText(button, t(busy() ? "stop" : "send"));
      if (!busy()) setText(said, sides.map((one) => one.memory.turns.at(-1)?.content ?? "").join(" "));
    };
    const lay = () => {
      for (const side of sides) side.stop();
      kept.sides[0] ??= {};
      if (kept.two) kept.sides[1] ??= { model: models[1]?.id };
      sides = kept.sides.slice(0, kept.two ? 2 : 1).map((memory) => new Side(models, memory, refresh));
      grid.replaceChildren(...sides.map((one) => one.element));
      setText(two, t(kept.two ? "one_model" : "side_by_side"));
      two.setAttribute("aria-pressed", String(kept.two));
      refresh();
    };
    const submit = () => {
      if (busy()) return sides.forEach((one) => one.stop());
      const message = text.value.trim();
      if (!message) return text.focus();
      text.value = kept.draft = "";
      for (const side of sides) side.say(message);
    };
    text.addEventListener("input", () => {
      kept.draft = text.value;
    });
    text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!busy()) submit();
    });
    box.replaceChildren(options(), grid, said, h("form", { class: "card send", onsubmit: (event) => {
      event.preventDefault();
      submit();
    } }, text, h("div", { class: "row" }, button)));
    head.replaceChildren(h("h1", {}, t("chat")), h("div", { class: "row" }, two, clear));
    lay();
  };
  const load = async () => {
    try {
      const { data } = await get("/v1/models");
      if (data.length > 0) build(data);
      else box.replaceChildren(empty(t("no_models"), t("no_models_text")));
    } catch (error) {
      box.replaceChildren(empty(t("failed_to_load"), h("div", {}, h("p", {}, error.message),
        h("p", {}, h("button", { type: "button", onclick: load }, t("try_again"))))));
    }
  };
  const head = h("div", { class: "head" }, h("h1", {}, t("chat")));
  load();
  return { element: h("div", {}, head, box), close: () => sides.forEach((one) => one.stop()) };
}
