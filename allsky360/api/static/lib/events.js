// The event stream, shared by everything on the page; polls while it is down.
import { API } from "/static/lib/api.js";

const POLL_MS = 8000, NAMES = ["hello", "frame", "state", "product", "transient", "reset"];
const listeners = new Set();
let started = false, polling = null;
export const stream = { open: false };

function tell(name, data) {
  for (const listener of listeners) listener(name, data);
}

function poll(on) {
  if (on && polling === null) polling = setInterval(() => tell("poll", {}), POLL_MS);
  if (!on && polling !== null) { clearInterval(polling); polling = null; }
}

function connect() {
  const source = new EventSource(`${API}/events`);
  source.onopen = () => { stream.open = true; poll(false); tell("open", {}); };
  source.onerror = () => {
    const was = stream.open;
    stream.open = false;
    poll(true);
    if (was) tell("lost", {});
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, POLL_MS);
  };
  for (const name of NAMES) source.addEventListener(name, (event) => {
    let data = {};
    try { data = JSON.parse(event.data); } catch { /* an event without data says enough by its name */ }
    tell(name, data);
  });
}

// listener(name, data): the names above, and "open", "lost", "poll" (nothing was heard: look yourself).
export function follow(listener) {
  listeners.add(listener);
  if (!started) { started = true; connect(); }
  return () => listeners.delete(listener);
}

// Calls `work` soon after any of `names`; several at once are one call.
export function onNews(names, work, wait_ms = 60) {
  let soon = null;
  return follow((name) => {
    if (!names.includes(name) || soon !== null) return;
    soon = setTimeout(() => { soon = null; work(); }, wait_ms);
  });
}

// `work` that is done again by itself, ever less often, while it answers false; asked again meanwhile, it is done at once.
export function persistently(work, first_ms = 1000, most_ms = 30000) {
  let later = null, pause_ms = first_ms;
  return async function run() {
    clearTimeout(later);
    const well = await work();
    clearTimeout(later);
    pause_ms = well === false ? pause_ms : first_ms;
    if (well === false) { later = setTimeout(run, pause_ms); pause_ms = Math.min(most_ms, 2 * pause_ms); }
    return well;
  };
}
