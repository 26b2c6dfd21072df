// The page's frame: places, language, colours, the key, and which view is shown.
import { get, hasKey, onKeyNeeded, setKey } from "./api.js";
import { redrawAll } from "./charts.js";
import { chatView } from "./chat.js";
import { deploymentsView } from "./deployments.js";
import { devicesView } from "./devices.js";
import { empty, h, pill, s, setText } from "./dom.js";
import { listen, live, restart } from "./live.js";
import { overviewView } from "./overview.js";
import { tasksView } from "./tasks.js";
import { usageView } from "./usage.js";
import { clock, currentLanguage, languages, setLanguage, t } from "./words.js";

const VIEWS = {
  overview: [overviewView, "M4 13h6V4H4zM14 20h6V4h-6zM4 20h6v-3H4z"],
  devices: [devicesView, "M7 7h10v10H7zM10 3v4M14 3v4M10 17v4M14 17v4M3 10h4M3 14h4M17 10h4M17 14h4"],
  deployments: [deploymentsView, "M12 3l8 4.5-8 4.5-8-4.5zM4 12l8 4.5 8-4.5M4 16.5L12 21l8-4.5"],
  tasks: [tasksView, "M9 6h11M9 12h11M9 18h11M4 6h.01M4 12h.01M4 18h.01"],
  usage: [usageView, "M4 20V10M10 20V4M16 20v-8M21 20H3"],
  chat: [chatView, "M4 5h16v11H10l-5 4v-4H4z"],
};

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const tools = document.getElementById("tools");
const state = document.getElementById("state");
export const me = { name: "", role: "admin", keys: false, version: "" };
let view = null;
let shown = "";

function place() {
  const [name, detail] = location.hash.replace(/^#\//, "").split("/");
  return name in VIEWS ? [name, detail] : ["overview", ""];
}

// Shows the view that the address names. A view is {element, update?(live), open?(detail), close?()}.
function show(focus) {
  const [name, detail] = place();
  if (view && shown === name) {
    view.open?.(detail);
    return;
  }
  view?.close?.();
  shown = name;
  for (const link of nav.querySelectorAll("a")) {
    if (link.dataset.name === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${t(name)} · altlas`;
  view = VIEWS[name][0](me);
  main.replaceChildren(view.element);
  view.open?.(detail);
  update();
  if (focus) main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

// What stands in place of a view that the server's picture is needed for.
const NEEDS_LIVE = new Set(["overview", "devices", "deployments"]);
let cover = null;

function coverFor() {
  if (live.state === "key")
    return ["key", empty(t("key_needed"), h("p", {}, h("button", {
      class: "main", type: "button", onclick: () => askForKey(false) }, t("key_enter"))))];
  if (live.state === "denied")
    return ["denied", empty(t("denied"), h("div", {}, h("p", {}, t("denied_text", { why: live.problem })),
      h("p", {}, h("button", { type: "button", onclick: () => askForKey(false) }, t("key_enter")))))];
  if (!live.now && live.state === "gone") return ["gone", empty(t("gone"), t("gone_first"))];
  if (!live.now) return ["connecting", empty(t("connecting"), "")];
  return null;
}

function update() {
  const [kind, text, about] = {
    connecting: ["plain", t("connecting"), ""],
    key: ["warn", t("key_needed"), ""],
    denied: ["bad", t("denied"), ""],
    gone: ["bad", t("gone"), live.now ? t("gone_text", { at: clock(live.now.at) }) : ""],
    ok: live.now && [{ ok: "good", unavailable: "bad" }[live.now.health.status] ?? "warn",
      t(`health_${live.now.health.status}`),
      [live.now.health.model, live.now.health.message].filter(Boolean).join(" · ")],
  }[live.state];
  const key = `${kind}|${text}|${about}`;
  if (state.dataset.key !== key) {
    state.dataset.key = key;
    state.replaceChildren(pill(kind, text), h("span", { class: "about" }, about));
  }
  const wanted = NEEDS_LIVE.has(shown) ? coverFor() : null;
  if (wanted?.[0] !== cover?.[0]) {
    cover?.[1].remove();
    if (wanted) main.prepend(wanted[1]);
    cover = wanted;
  } else if (wanted && !wanted[1].isConnected && !cover[1].isConnected) {
    main.prepend(cover[1]);
  }
  if (view) view.element.hidden = wanted !== null;
  if (!wanted && live.now) view?.update?.(live);
}

function askForKey(wrong) {
  if (document.querySelector("dialog[open]")) return;
  const field = h("input", { type: "password", autocomplete: "off", required: true, id: "key" });
  const fault = h("p", { class: "note bad", role: "alert", hidden: !wrong }, wrong ? t("key_wrong") : "");
  const dialog = h("dialog", { "aria-labelledby": "key-title" },
    h("form", {
      method: "dialog",
      onsubmit: async (event) => {
        event.preventDefault();
        setKey(field.value.trim());
        try {
          Object.assign(me, await get("/api/v1/whoami"));
          dialog.close();
          restart();
          rebuild();
        } catch (error) {
          fault.hidden = false;
          setText(fault, error.status === 401 ? t("key_wrong") : error.message);
          if (error.status === 401) setKey(null);
          field.select();
        }
      },
    },
    h("h2", { id: "key-title" }, t("key_title")), h("p", { class: "dim" }, t("key_text")), fault,
    h("label", { class: "field", htmlFor: "key" }, t("key_label"), field),
    h("div", { class: "row" }, h("button", { class: "main", type: "submit" }, t("key_show")))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  field.focus();
}

function themeNow() {
  return document.documentElement.dataset.theme ?? "auto";
}

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("altlas.theme", theme);
  } catch {
    // It then lasts as long as the page.
  }
  redrawAll();
}

function select(label, options, value, onpick) {
  return h("select", { "aria-label": label, onchange: (event) => onpick(event.target.value) },
    options.map(([name, text]) => h("option", { value: name, selected: name === value }, text)));
}

// Makes everything that has words in it.
function rebuild() {
  setText(document.getElementById("skip"), t("skip"));
  nav.setAttribute("aria-label", t("places"));
  nav.replaceChildren(h("ul", {}, Object.entries(VIEWS).map(([name, [, path]]) =>
    h("li", {}, h("a", { href: `#/${name}`, data: { name } },
      s("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: path })),
      h("span", {}, t(name)))))));
  tools.replaceChildren(
    hasKey() ? h("button", { type: "button", class: "quiet", onclick: () => {
      setKey(null);
      location.reload();
    } }, t("forget_key")) : "",
    select(t("theme"), ["auto", "light", "dark"].map((name) => [name, t(`theme_${name}`)]),
      themeNow(), setTheme),
    select(t("language"), Object.entries(languages), currentLanguage(), (name) => {
      setLanguage(name);
      rebuild();
    }));
  view?.close?.();
  view = null;
  state.dataset.key = "";
  cover?.[1].remove();
  cover = null;
  show(false);
}

onKeyNeeded(askForKey);
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", () => show(true));
window.addEventListener("storage", (event) => {
  if (event.key === "altlas.theme") setTheme(event.newValue ?? "auto");
});
rebuild();
listen(update);
restart();
get("/api/v1/whoami").then((answer) => {
  Object.assign(me, answer);
  view?.identify?.(me);
}, () => {});
