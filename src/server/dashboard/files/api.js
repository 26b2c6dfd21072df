// Requests to the server that this page came from, with the key that the user gave.
import { t } from "./words.js";

let key = null;
try {
  key = sessionStorage.getItem("altlas.key");
} catch {
  // Storage may be forbidden: then the key lasts as long as the page.
}
let askForKey = null;  // Shows the question for a key; set by the page.

export function setKey(text) {
  key = text || null;
  try {
    if (key) sessionStorage.setItem("altlas.key", key);
    else sessionStorage.removeItem("altlas.key");
  } catch {
    // As above.
  }
}
export const hasKey = () => key !== null;
export function onKeyNeeded(ask) {
  askForKey = ask;
}

// An answer other than 2xx, or none at all (status 0).
export class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function failure(response) {
  let message = `${response.status} ${response.statusText}`;
  try {
    const body = await response.json();
    message = body.error?.message ?? body.error ?? body.message ?? message;
  } catch {
    // The status has to do.
  }
  return new Failure(response.status, String(message));
}

// The raw answer.  Throws Failure; AbortError passes through.
export async function send(path, { method = "GET", body, signal } = {}) {
  const headers = {};
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method, headers, signal, cache: "no-store", credentials: "omit",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, t("gone"));
  }
  if (response.ok) return response;
  const problem = await failure(response);
  if (problem.status === 401) askForKey?.(key !== null);
  throw problem;
}

export async function get(path, options) {
  return (await send(path, options)).json();
}

// Yields the data of server-sent events until the stream ends.
export async function* events(path, options) {
  const response = await send(path, options);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    while (true) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value;
      let end;
      while ((end = rest.indexOf("\n\n")) >= 0) {
        const event = rest.slice(0, end);
        rest = rest.slice(end + 2);
        const lines = event.split("\n").filter((line) => line.startsWith("data:"));
        const data = lines.map((line) => line.slice(5).trimStart()).join("\n");
        if (data) yield data;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
