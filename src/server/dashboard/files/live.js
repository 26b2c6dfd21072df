// What the server says of itself once a second, kept for the charts: half an hour by seconds, a day
// by minutes. Both are of a fixed length.
import { events, get, Failure } from "./api.js";

const FINE = 1800;
const CHANGES = 1000;
// A stream that says nothing for so long has ended without telling.
const SILENCE_MS = 10000;

const listeners = new Set();
let retry = 0;
let retryTimer = 0;
let stop = null;
let day = null;
let dayAsked = 0;

export const live = {
  now: null,        // The newest picture.
  state: "connecting",  // Or "ok", "gone", "key", "denied".
  problem: "",
  fine: emptyHistory(),
  changes: [],
};

function emptyHistory() {
  return { step_s: 1, columns: { time: [] }, devices: [] };
}

const LATENCIES = ["queue", "first_token", "inter_token", "total"];
const QUANTILES = ["p50", "p95", "p99"];

// Appends a picture to the columns of a history, whose length stays.
function append(history, event) {
  const { columns } = history;
  const time = Math.round(Date.parse(event.at) / 1000);
  const last = columns.time.at(-1) ?? 0;
  if (time <= last) return;
  const before = columns.time.length;
  const put = (list, name, value) => {
    const column = (list[name] ??= new Array(before).fill(null));
    column.push(value ?? null);
    if (column.length > FINE) column.shift();
  };
  put(columns, "time", time);
  for (const name of ["waiting", "running"]) put(columns, name, event[name]);
  for (const [name, value] of Object.entries(event.rates)) put(columns, name, value);
  for (const name of LATENCIES)
    for (const q of QUANTILES) put(columns, `${name}_${q}`, event.second[name]?.[q]);
  event.devices.forEach((device, i) => {
    const one = (history.devices[i] ??= { id: device.id });
    for (const name of ["utilization", "memory_used", "temperature", "power"])
      put(one, name, device[name]);
  });
}

function addChanges(changes) {
  const last = live.changes.at(-1)?.number ?? 0;
  live.changes.push(...changes.filter((one) => one.number > last));
  live.changes.splice(0, live.changes.length - CHANGES);
}

function tell() {
  for (const listener of [...listeners]) listener(live);
}

// Calls `listener` with each picture, and now.  Returns what ends that.
export function listen(listener) {
  listeners.add(listener);
  listener(live);
  return () => listeners.delete(listener);
}

// The history that a chart of `span` ("fine" or "day") draws.
export function history(span) {
  if (span === "fine") return live.fine;
  const age = Date.now() - dayAsked;
  if (age > 60000) {
    dayAsked = Date.now();
    get("/api/v1/history?by=minutes").then((answer) => {
      day = answer;
      tell();
    }, () => {
      dayAsked = 0;
    });
  }
  return day ?? emptyHistory();
}

function fail(error) {
  const status = error instanceof Failure ? error.status : 0;
  live.state = status === 401 ? "key" : status === 403 ? "denied" : "gone";
  live.problem = error.message ?? "";
  tell();
  if (live.state !== "gone") return;
  clearTimeout(retryTimer);
  retryTimer = setTimeout(connect, Math.min(500 * 2 ** retry++, 10000));
}

async function connect() {
  stop?.abort();
  const own = (stop = new AbortController());
  let watchdog = 0;
  const alive = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => own.abort(), SILENCE_MS);
  };
  try {
    alive();
    const past = await get("/api/v1/history?by=seconds", { signal: own.signal });
    live.fine = past;
    live.changes = past.changes;
    for await (const data of events("/api/v1/live", { signal: own.signal })) {
      alive();
      const event = JSON.parse(data);
      retry = 0;
      live.now = event;
      live.state = "ok";
      append(live.fine, event);
      addChanges(event.changes);
      tell();
    }
    throw new Failure(0, "");
  } catch (error) {
    if (stop === own) fail(error.name === "AbortError" ? new Failure(0, "") : error);
  } finally {
    clearTimeout(watchdog);
  }
}

// Begins anew, as after another key was given.
export function restart() {
  clearTimeout(retryTimer);
  retry = 0;
  day = null;
  dayAsked = 0;
  live.state = "connecting";
  connect();
}
