// Tasks: a list of any length of which only what is in sight is in the page, and one task in full.
import { get, send } from "./api.js";
import { choice, empty, h, pill, setText } from "./dom.js";
import { live } from "./live.js";
import { clock, moment, number, span, strategyName, t } from "./words.js";

const ROW = 44;
const PAGE = 200;  // Tasks of one request.
const PAGES_KEPT = 25;
const KIND = { queued: "warn", running: "", completed: "good", failed: "bad", canceled: "plain" };
const STATES = ["queued", "running", "completed", "failed", "canceled"];
const stateText = (state) => t(state === "running" ? "running_" : state);

const seconds = (task) => {
  if (!task.started_at) return null;
  const end = task.finished_at ? Date.parse(task.finished_at) : Date.parse(live.now?.at ?? new Date());
  return Math.max(0, (end - Date.parse(task.started_at)) / 1000);
};

// Fetches pages of the list as they come into sight.
class Pages {
  constructor(onchange) {
    this.onchange = onchange;
    this.reset("");
  }
  reset(filter) {
    this.abort?.abort();
    this.abort = new AbortController();
    Object.assign(this, { filter, pages: new Map(), total: null, problem: null, asked: new Set() });
  }
  at(index) {
    const page = this.pages.get(Math.floor(index / PAGE));
    return page?.[index % PAGE];
  }
  async want(first, last) {
    const from = Math.floor(first / PAGE);
    const until = Math.floor(Math.max(first, last) / PAGE);
    for (let page = from; page <= until; ++page)
      if (!this.pages.has(page) && !this.asked.has(page)) this.load(page);
  }
  async load(page) {
    const { abort } = this;
    this.asked.add(page);
    try {
      const answer = await get(
        `/api/v1/tasks?texts=false&limit=${PAGE}&offset=${page * PAGE}${this.filter}`,
        { signal: abort.signal });
      if (abort !== this.abort) return;
      this.total = answer.total;
      this.problem = null;
      this.pages.set(page, Object.values(answer.tasks));
      if (this.pages.size > PAGES_KEPT) this.pages.delete(this.pages.keys().next().value);
    } catch (error) {
      if (error.name === "AbortError" || abort !== this.abort) return;
      this.problem = error;
    } finally {
      if (abort === this.abort) {
        this.asked.delete(page);
        this.onchange();
      }
    }
  }
}

const COLUMNS = ["task", "state", "type", "device_short", "tokens", "duration", "created"];

function taskRow(task, index, selected, onopen) {
  const cells = task ? [h("span", { class: "mono" }, task.task_id),
    h("span", {}, pill(KIND[task.status], stateText(task.status))), h("span", {}, task.type),
    h("span", { class: "n" }, task.gpu_id), h("span", { class: "n num" }, number(task.generated_tokens)),
    h("span", { class: "n num" }, span(seconds(task))),
    h("span", { class: "n num" }, clock(task.created_at))]
    : COLUMNS.map((_, i) => h("span", {}, i === 0 ? "…" : ""));
  for (const cell of cells) cell.setAttribute("role", "gridcell");
  const row = h("div", { class: "vrow", role: "row", "aria-rowindex": index + 2, tabIndex: -1,
    "aria-selected": String(selected), onclick: () => task && onopen(task.task_id) }, cells);
  row.style.top = `${index * ROW}px`;
  return row;
}

// The list itself: rows of one height, laid over a box as high as all of them.
class List {
  constructor(onopen) {
    this.onopen = onopen;
    this.selected = "";
    this.active = 0;  // The row that the keyboard is on.
    this.pages = new Pages(() => this.draw());
    this.all = h("div", { class: "all", role: "presentation" });
    this.none = h("div", {});
    this.view = h("div", { class: "view", role: "rowgroup", tabIndex: 0, onscroll: () => this.draw() },
      this.all);
    this.grid = h("div", { role: "grid", "aria-label": t("tasks"), "aria-colcount": COLUMNS.length,
      onkeydown: (event) => this.key(event) },
    h("div", { role: "rowgroup" }, h("div", { class: "vhead", role: "row", "aria-rowindex": 1 },
      COLUMNS.map((name, i) => h("span", { role: "columnheader", class: i > 2 ? "n" : "" }, t(name))))),
    this.view);
    this.count = h("p", { class: "dim small num", role: "status" });
    this.element = h("section", { class: "card vlist" }, this.grid, this.none);
  }
  filter(text) {
    this.view.scrollTop = 0;
    this.active = 0;
    this.pages.reset(text);
    this.pages.want(0, 0);
    this.draw();
  }
  // Asks anew for what is in sight, without emptying the list.
  refresh() {
    const first = Math.floor(this.view.scrollTop / ROW / PAGE);
    const keep = this.pages.pages.get(first);
    this.pages.pages = keep ? new Map([[first, keep]]) : new Map();
    if (!this.pages.asked.has(first)) this.pages.load(first);
  }
  key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9 }[event.key];
    const total = this.pages.total ?? 0;
    if (event.key === "Enter" || event.key === " ") {
      const task = this.pages.at(this.active);
      if (task) this.onopen(task.task_id);
      event.preventDefault();
    }
    if (!step || total === 0) return;
    event.preventDefault();
    this.active = Math.max(0, Math.min(total - 1, this.active + step));
    const top = this.active * ROW;
    if (top < this.view.scrollTop) this.view.scrollTop = top;
    const height = this.view.clientHeight;
    if (top + ROW > this.view.scrollTop + height) this.view.scrollTop = top + ROW - height;
    this.draw();
    this.all.querySelector(`[aria-rowindex="${this.active + 2}"]`)?.focus({ preventScroll: true });
  }
  draw() {
    const { pages } = this;
    const total = pages.total ?? 0;
    this.view.hidden = total === 0;
    this.all.style.height = `${total * ROW}px`;
    const first = Math.max(0, Math.floor(this.view.scrollTop / ROW) - 5);
    const last = Math.min(total - 1, first + Math.ceil(this.view.clientHeight / ROW) + 10);
    if (pages.total !== null) pages.want(first, last);
    const focused = this.all.contains(document.activeElement)
      ? document.activeElement.getAttribute("aria-rowindex") : null;
    const rows = [];
    for (let i = first; i <= last; ++i) {
      const task = pages.at(i);
      rows.push(taskRow(task, i, task?.task_id === this.selected, this.onopen));
    }
    this.all.replaceChildren(...rows);
    if (focused) this.all.querySelector(`[aria-rowindex="${focused}"]`)?.focus({ preventScroll: true });
    this.grid.setAttribute("aria-rowcount", total + 1);
    setText(this.count, pages.total === null ? "" : t("total", { n: number(total) }));
    const state = pages.problem ? "problem" : pages.total === 0 ? "empty" : pages.total === null ? "loading" : "";
    if (this.none.dataset.state === state) return;
    this.none.dataset.state = state;
    this.none.replaceChildren(...{
      problem: () => [empty(t("failed_to_load"), h("div", {}, h("p", {}, pages.problem.message),
        h("p", {}, h("button", { type: "button", onclick: () => this.filter(pages.filter) }, t("try_again")))))],
      empty: () => [empty(t("no_tasks"), t("no_tasks_text"))],
      loading: () => [empty(t("loading"), "")],
      "": () => [],
    }[state]());
  }
}

// Why a device was chosen: every device that is there, with its place or why it was out. The answer tells of the first two and
// of some that were rejected; of others it is not known whether they could have taken the task.
function explanation(why) {
  const rejected = new Map(why.rejected.map((one) => [one.gpu_id, one.reason]));
  const ids = new Set([why.winner, why.runner_up, ...rejected.keys(),
    ...(live.now?.devices.map((one) => one.id) ?? [])].filter((id) => id !== null && id !== undefined));
  const row = (id) => {
    const [kind, text, reason] = id === why.winner ? ["good", t("chosen"), why.reason]
      : rejected.has(id) ? ["bad", t("rejected"), rejected.get(id)]
        : id === why.runner_up ? ["", t("runner_up"), ""] : ["plain", t("unnamed"), ""];
    return h("tr", {}, h("th", { scope: "row" }, t("device", { id })), h("td", {}, pill(kind, text)),
      h("td", { class: "small" }, reason));
  };
  const others = Object.entries(why.alternatives);
  return h("div", { class: "stack" },
    h("p", { class: "small dim" }, t("by_strategy", { name: strategyName(why.strategy) })),
    h("table", {}, h("tbody", {}, [...ids].sort((a, b) => a - b).map(row))),
    others.length > 0 && h("div", {}, h("h3", {}, t("other_strategies")), h("ul", { class: "keys" },
      others.map(([name, id]) => h("li", {}, strategyName(name),
        h("b", {}, id === null ? t("no_device") : t("device", { id })))))),
    why.moves?.length > 0 && h("div", {}, h("h3", {}, t("moves")), h("ul", { class: "small" },
      why.moves.map((one) => h("li", {}, t("moved", { ...one, at: clock(one.at), why: one.reason }))))));
}

function facts(task) {
  const rows = [["state", pill(KIND[task.status], stateText(task.status))], ["type", task.type],
    ["deployment", task.deployment], ["device_short", task.gpu_id], ["position", task.queue_position],
    ["created", moment(task.created_at)], ["started", task.started_at && moment(task.started_at)],
    ["finished", task.finished_at && moment(task.finished_at)], ["duration", span(seconds(task))],
    ["prompt_tokens", number(task.prompt_tokens)], ["generated_tokens", number(task.generated_tokens)],
    ["finish_reason", task.result?.finish_reason], ["seed", task.seed], ["note", task.note]];
  return h("dl", { class: "pairs" }, rows.filter(([, value]) => value !== undefined && value !== null)
    .map(([name, value]) => [h("dt", {}, t(name)), h("dd", {}, value)]));
}

function cancelButton(id, onend) {
  const box = h("div", { class: "row" });
  const ask = () => box.replaceChildren(h("button", { type: "button", class: "danger", onclick: () => {
    box.replaceChildren(h("span", {}, t("cancel_sure")),
      h("button", { type: "button", class: "danger", onclick: cancel }, t("cancel")),
      h("button", { type: "button", onclick: ask }, t("cancel_keep")));
    box.querySelector("button").focus();
  } }, t("cancel")));
  const cancel = async () => {
    try {
      await send(`/api/v1/task/${id}`, { method: "DELETE" });
      onend(t("canceled_done"));
    } catch (error) {
      onend(error.message);
    }
  };
  ask();
  return box;
}

// One task in full, looked at again while it goes on.
class Detail {
  constructor(id, onclose, onchange) {
    Object.assign(this, { id, onchange, timer: 0, closed: false, state: "" });
    this.body = h("div", { class: "stack" }, h("p", { class: "dim" }, t("loading")));
    this.said = h("p", { class: "small", role: "status" });
    this.why = h("div", { class: "stack" });
    this.element = h("section", { class: "card stack", "aria-label": t("task") },
      h("div", { class: "spread" }, h("h2", {}, t("task")),
        h("button", { type: "button", class: "quiet", onclick: onclose }, t("close"))),
      h("p", { class: "mono" }, id), this.said, this.body, this.why);
    this.load();
    this.explain();
  }
  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }
  async load() {
    let wait = 1000;
    try {
      const task = await get(`/api/v1/task/${this.id}`);
      if (this.closed) return;
      const over = task.finished_at !== null;
      this.draw(task, over);
      if (over) return;
    } catch (error) {
      if (this.closed) return;
      const missing = error.status === 404 || error.status === 400;
      this.body.replaceChildren(h("p", { class: "note bad" }, missing ? t("no_such_task") : error.message));
      if (missing) return;
      wait = 3000;
    }
    this.timer = setTimeout(() => this.load(), wait);
  }
  draw(task, over) {
    const { result } = task;
    const changed = this.state !== task.status;
    this.state = task.status;
    const known = this.body.querySelector(".row");
    this.body.replaceChildren(facts(task),
      task.error ? h("div", {}, h("h3", {}, t("error")), h("p", { class: "note bad" }, task.error)) : "",
      result?.embedding ? h("p", { class: "note" }, t("embedding", { n: result.embedding.length })) : "",
      result && !result.embedding ? h("div", {}, h("h3", {}, t("result")),
        h("pre", { class: "text", tabIndex: 0 }, result.text)) : "",
      over ? "" : known ?? cancelButton(this.id, (text) => {
        setText(this.said, text);
        clearTimeout(this.timer);
        this.load();
      }));
    if (changed) this.onchange();
  }
  async explain() {
    this.why.replaceChildren(h("h3", {}, t("explain")));
    try {
      this.why.append(explanation(await get(`/api/v1/task/${this.id}/explain`)));
    } catch (error) {
      this.why.append(h("p", { class: "dim small" },
        error.status === 404 ? t("explain_none") : error.message));
    }
  }
}

export function tasksView() {
  let filter = "";
  let detail = null;
  const list = new List((id) => {
    location.hash = `#/tasks/${id}`;
  });
  const box = h("div", { class: "tasks" }, list.element);
  const find = h("input", { type: "search", placeholder: t("find_short"), "aria-label": t("find"),
    maxLength: 32, spellcheck: false, autocomplete: "off" });
  const close = () => {
    location.hash = "#/tasks";
    list.view.focus();
  };
  const apply = () => list.filter(filter && `&status=${filter}`);
  const element = h("div", {},
    h("div", { class: "head" }, h("h1", {}, t("tasks")), list.count,
      h("form", { class: "row", role: "search", onsubmit: (event) => {
        event.preventDefault();
        if (find.value.trim()) location.hash = `#/tasks/${encodeURIComponent(find.value.trim())}`;
      } }, find, h("button", { type: "submit" }, t("search")))),
    h("div", { class: "stack" },
      h("div", { class: "row" },
        choice(t("state"), [["", t("all_states")], ...STATES.map((one) => [one, stateText(one)])],
          filter, (name) => {
            filter = name;
            apply();
          }),
        h("button", { type: "button", onclick: () => list.refresh() }, t("refresh"))),
      box));
  const resize = () => list.draw();
  window.addEventListener("resize", resize);
  apply();
  let beat = 0;
  return {
    element,
    open(id) {
      detail?.close();
      detail?.element.remove();
      detail = null;
      list.selected = id ?? "";
      box.classList.toggle("open", Boolean(id));
      if (id) {
        detail = new Detail(decodeURIComponent(id), close, () => list.refresh());
        box.append(detail.element);
        if (matchMedia("(max-width: 1180px)").matches) detail.element.scrollIntoView();
      }
      list.draw();
    },
    // The list follows what happens while its begin is in sight.
    update() {
      if (++beat % 3 === 0 && list.view.scrollTop < ROW && !document.hidden) list.refresh();
    },
    close() {
      window.removeEventListener("resize", resize);
      detail?.close();
      list.pages.abort.abort();
    },
  };
}
