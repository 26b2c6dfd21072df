// Small helpers to make and change elements. Text is only ever set as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.setAttribute("class", value);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.includes("-") && !(element instanceof SVGElement))
      element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

// h("p", {class: "dim"}, "text", child): an element with properties and children.
export function h(name, properties, ...children) {
  return fill(document.createElement(name), properties, children);
}

export function s(name, properties, ...children) {
  return fill(document.createElementNS(SVG, name), properties, children);
}

// Sets a text only where it is another one, so that screen readers and selections are left alone.
export function setText(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

export function setClass(element, name) {
  if (element.className !== name) element.className = name;
}

export function setWidth(element, percent) {
  const width = `${Math.max(0, Math.min(100, percent)).toFixed(2)}%`;
  if (element.style.width !== width) element.style.width = width;
}

// Keeps one child per item of a list, by key: `make(item)` gives {element, update(item)}.
export class Children {
  constructor(parent, key, make) {
    Object.assign(this, { parent, key, make, known: new Map() });
  }
  update(items) {
    const left = new Map(this.known);
    let before = this.parent.firstElementChild;
    for (const item of items) {
      const key = this.key(item);
      let child = this.known.get(key);
      if (!child) {
        child = this.make(item);
        this.known.set(key, child);
      }
      left.delete(key);
      child.update?.(item);
      if (before === child.element) before = before.nextElementSibling;
      else this.parent.insertBefore(child.element, before);
    }
    for (const [key, child] of left) {
      child.close?.();
      child.element.remove();
      this.known.delete(key);
    }
  }
  close() {
    for (const child of this.known.values()) child.close?.();
  }
}

// Buttons of which one is pressed.
export function choice(label, options, value, onpick) {
  const buttons = options.map(([name, text]) =>
    h("button", {
      type: "button",
      "aria-pressed": String(name === value),
      onclick: () => {
        for (const one of buttons) one.setAttribute("aria-pressed", String(one.value === name));
        onpick(name);
      },
      value: name,
    }, text));
  return h("div", { class: "choice", role: "group", "aria-label": label }, buttons);
}

export function pill(kind, text) {
  return h("span", { class: `pill ${kind}` }, text);
}

export function empty(title, text) {
  return h("div", { class: "empty" }, h("strong", {}, title), text);
}
