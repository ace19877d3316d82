// The live page: newest frame, its numbers, the night so far. Follows the event stream and falls back
// to polling; says in words when something is wrong.
import { NONE, age, clock, day, exposure, minute, number } from "/static/format.js";
import { draw } from "/static/chart.js";

const API = "/api/v1";
const POLL_MS = 8000;          // while the event stream is down
const STATUS_MS = 10000;
const WIDTHS = [480, 720, 960, 1280, 1600, 2048, 2560];
const LEVELS = ["level", "sky_level", "background"];
const $ = (id) => document.getElementById(id);

const view = {
  shown: null,        // the frame on the stage
  latest: null,       // the newest frame
  status: null,
  statusAt: 0,        // performance.now() of the status
  streaming: false,
  offline: false,
  pinned: Boolean(location.hash),
  turn: 0,            // counts picture loads: a late older one is dropped
};

async function ask(address) {
  const reply = await fetch(address, { headers: { accept: "application/json" } });
  const body = await reply.json().catch(() => null);
  if (!reply.ok) {
    const error = new Error((body && body.detail) || `${reply.status} ${reply.statusText}`);
    error.status = reply.status;
    throw error;
  }
  return body;
}

// ---- what is shown -------------------------------------------------------------------------

function rows(target, entries) {
  target.replaceChildren(...entries.flatMap(([name, value, title]) => {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = value;
    if (title) dd.title = title;
    return [dt, dd];
  }));
}

function levelName(measurements) {
  return LEVELS.find((name) => Number.isFinite(measurements[name])) || null;
}

function describe(frame) {
  return `${day(frame.time)} ${clock(frame.time)} UTC`;
}

function showNumbers(frame) {
  const m = frame.measurements, sky = frame.sky || {}, level = levelName(m);
  const moon = sky.moon_illumination;
  const entries = [
    ["UTC", `${day(frame.time)} ${clock(frame.time)}`],
    ["Local solar time", frame.local_time ? clock(frame.local_time) : NONE, "UTC + longitude / 15 h"],
    ["Night · frame", `${frame.night} · ${frame.index}`],
    [frame.exposures_s.length > 1 ? "Exposures" : "Exposure", frame.exposures_s.map(exposure).join(" + ")],
    ["Gain", number(frame.gain, 0)],
    ["Sky level", level ? number(m[level] * (m[level] <= 1.5 ? 100 : 1), 1, m[level] <= 1.5 ? " %" : "") : NONE,
      "Median of the longest exposure, as a share of saturation"],
    ["Sun altitude", number(sky.sun_altitude_deg, 1, "°")],
    ["Moon altitude", number(sky.moon_altitude_deg, 1, "°")],
    ["Moon illumination", Number.isFinite(moon) ? `${(moon * 100).toFixed(0)} %` : NONE],
    ["Sensor", number(m.temperature_c, 1, " °C")],
  ];
  rows($("numbers"), entries);
  $("downloads").replaceChildren(...frame.links.raw.map((href, i, all) => {
    const a = document.createElement("a");
    a.href = href;
    a.textContent = all.length > 1 ? `Raw FITS ${i + 1} (${exposure(frame.exposures_s[i])})` : "Raw FITS";
    return a;
  }));
}

async function showFrame(frame) {
  const turn = ++view.turn;
  const wanted = $("picture").clientWidth * Math.min(2, window.devicePixelRatio || 1);
  const width = WIDTHS.find((w) => w >= wanted) || WIDTHS[WIDTHS.length - 1];
  const image = new Image();
  image.src = `${frame.links.picture}&width=${width}`;
  try {
    await image.decode();
  } catch {
    if (turn === view.turn) showEmpty(`The picture of frame ${frame.id} could not be loaded.`);
    return;
  }
  if (turn !== view.turn) return;
  view.shown = frame;
  $("main").classList.remove("nothing");
  $("image").src = image.src;
  $("image").alt = `All-sky picture of ${describe(frame)}`;
  $("full").href = frame.links.picture;
  $("full").title = "Open in full size";
  $("full").hidden = false;
  $("empty").hidden = true;
  showNumbers(frame);
  showControls();
  showChart();
  markStrip();
}

function showControls() {
  const frame = view.shown;
  const live = !view.pinned;
  $("caption").textContent = `${describe(frame)}${live ? "" : " · not live"}`;
  $("previous").hidden = !frame.neighbours.previous;
  $("next").hidden = live || !frame.neighbours.next;
  $("back").hidden = live;
}

function showEmpty(text) {
  $("full").hidden = true;
  $("empty").hidden = false;
  $("empty-text").textContent = text;
}

let chartKey = "";
async function showChart() {
  const frame = view.shown;
  if (!frame) return;
  const level = levelName(frame.measurements);
  const names = ["exposure_s", ...(level ? [level] : [])].join(",");
  const key = `${frame.id} ${view.latest && view.latest.id}`;
  if (key === chartKey) return;
  chartKey = key;
  try {
    const camera = encodeURIComponent(frame.camera);
    const series = await ask(`${API}/nights/${frame.night}/series?camera=${camera}&variables=${names}&points=400`);
    if (key === chartKey) draw($("chart"), series, level, Date.parse(frame.time));
  } catch (error) {
    chartKey = "";
    $("chart").textContent = `No chart: ${error.message}`;
  }
}

let stripKey = "";
async function showStrip() {
  if (!view.latest || stripKey === view.latest.revision) return;
  stripKey = view.latest.revision;
  try {
    const camera = encodeURIComponent(view.latest.camera);
    const page = await ask(`${API}/frames?camera=${camera}&order=newest&limit=36`);
    const frames = page.frames.filter((f) => f.processed).slice(0, 12);
    $("strip").replaceChildren(...frames.map((f) => {
      const item = document.createElement("li"), link = document.createElement("a");
      const image = document.createElement("img");
      link.href = `#${f.id}`;
      link.dataset.id = f.id;
      image.src = f.links.thumbnail;
      image.alt = `Frame ${f.index} of night ${f.night}`;
      image.width = 108;
      image.height = 76;
      image.loading = "lazy";
      link.append(image, clock(f.time));
      item.append(link);
      return item;
    }));
    markStrip();
  } catch {
    stripKey = "";  // tried again with the next frame
  }
}

function markStrip() {
  for (const link of $("strip").querySelectorAll("a")) {
    link.setAttribute("aria-current", String(Boolean(view.shown) && link.dataset.id === view.shown.id));
  }
}

const WORDS = { live: "live", stale: "stale", fault: "camera fault", paused: "paused", waiting: "waiting",
  offline: "no connection" };

function showState() {
  const s = view.status;
  const state = view.offline ? "offline" : s ? s.state : "connecting";
  $("pill").dataset.state = state;
  $("pill").textContent = WORDS[state] || "connecting";
  let text = "";
  if (view.offline) text = "This page cannot reach the service; it tries again by itself. What it shows may be old.";
  else if (s && s.state !== "live") text = s.message;
  else if (s && s.storage.low) text = `Disk space is low: ${number(s.storage.free_gb, 1, " GB")} left.`;
  else if (s && s.last_picture && s.last_frame && lag(s) > s.stale_after_s) {
    text = `Frames are captured, but not processed: ${s.unprocessed} wait. Is the processing running?`;
  }
  const banner = $("banner");
  banner.dataset.state = state;
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = !text;
  document.title = `${state === "live" ? "" : `(${WORDS[state] || state}) `}${s && s.site && s.site.name || "allsky360"}`;
}

const lag = (s) => s.last_picture.age_s - s.last_frame.age_s;

function showStatus() {
  const s = view.status;
  $("site").textContent = s.site ? s.site.name : "";
  const o = s.owner;
  const owner = !o ? "not running" : o.state + (o.camera ? ` · ${o.camera}` : "");
  rows($("system"), [
    ["Camera", owner],
    ["Frames tonight", String(s.frames_tonight)],
    ["Waiting for processing", String(s.unprocessed)],
    ["Faults", o && Number.isFinite(o.faults) ? String(o.faults) : NONE],
    ["Free disk space", number(s.storage.free_gb, 1, " GB")],
    ...(s.sky ? [["Sun now", number(s.sky.sun_altitude_deg, 1, "°")]] : []),
    ...(s.clock_rate !== 1 ? [["Rehearsal clock", `${s.clock_rate} × real time`]] : []),
    ["Updates", view.streaming ? "live" : "polling"],
  ]);
  for (const name of ["prefect", "dask"]) {
    const link = $(`link-${name}`);
    link.hidden = !s.links[name];
    if (s.links[name]) link.href = here(s.links[name]);
  }
  showState();
}

// A link to the loopback of the server is one to the host this page came from.
function here(address) {
  const url = new URL(address);
  if (["127.0.0.1", "0.0.0.0", "localhost", "[::1]", "[::]"].includes(url.hostname)) url.hostname = location.hostname;
  return url.href;
}

function tick() {
  const s = view.status, frame = view.latest;
  if (!s || !frame) { $("age").textContent = ""; return; }
  const now = Date.parse(s.now) + (performance.now() - view.statusAt) * s.clock_rate;
  $("age").textContent = `newest picture ${age((now - Date.parse(frame.time)) / 1000)} old`;
}

// ---- where it comes from -------------------------------------------------------------------

async function loadStatus() {
  try {
    view.status = await ask(`${API}/status`);
    view.statusAt = performance.now();
    view.offline = false;
    showStatus();
  } catch (error) {
    view.offline = !error.status;
    if (error.status) $("banner").textContent = error.message;
    showState();
  }
}

async function loadLatest() {
  if (view.status && !view.status.last_picture) {  // nothing to ask for: say so without an error
    const s = view.status;
    if (!view.shown) showEmpty(s.last_frame ? "The first frame is stored and waits for processing." : "The first picture appears here by itself.");
    return;
  }
  try {
    view.latest = await ask(`${API}/latest`);
    view.offline = false;
  } catch (error) {
    if (error.status === 404) { if (!view.shown) showEmpty(error.message); }
    else { view.offline = true; showState(); }
    return;
  }
  tick();
  showStrip();
  if (!view.pinned) await showFrame(view.latest);
  else showChart();
}

async function loadPinned() {
  const id = decodeURIComponent(location.hash.slice(1));
  view.pinned = /^\d{4}-\d\d-\d\d\/\d+$/.test(id);
  if (!view.pinned) {
    if (view.latest) await showFrame(view.latest);
    return;
  }
  try {
    const camera = view.latest ? `?camera=${encodeURIComponent(view.latest.camera)}` : "";
    await open(await ask(`${API}/frames/${id}${camera}`));
  } catch (error) {
    showEmpty(error.message);
    $("back").hidden = false;
  }
}

async function open(frame) {
  if (frame.processed) return showFrame(frame);
  view.shown = frame;
  $("main").classList.remove("nothing");
  view.turn += 1;
  showEmpty(`Frame ${frame.id} is not processed yet.`);
  showNumbers(frame);
  showControls();
}

async function step(which) {
  const address = view.shown && view.shown.neighbours[which];
  if (!address || (which === "next" && !view.pinned)) return;
  const match = /frames\/([\d-]+\/\d+)/.exec(address);
  if (match) location.hash = match[1];
}

function backToLive() {
  history.replaceState(null, "", location.pathname);
  loadPinned();
}

async function refresh() {
  await loadStatus();
  await loadLatest();
}

let soon = null;
function refreshSoon() {  // several frames at once are one refresh
  if (soon === null) soon = setTimeout(() => { soon = null; refresh(); }, 120);
}

function follow() {
  const source = new EventSource(`${API}/events`);
  source.onopen = () => { view.streaming = true; refreshSoon(); };
  source.onerror = () => {
    view.streaming = false;
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, POLL_MS);
    loadStatus();
  };
  for (const name of ["hello", "frame", "state", "reset"]) source.addEventListener(name, refreshSoon);
}

$("previous").addEventListener("click", () => step("previous"));
$("next").addEventListener("click", () => step("next"));
$("back").addEventListener("click", backToLive);
addEventListener("hashchange", loadPinned);
addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "ArrowLeft") step("previous");
  else if (event.key === "ArrowRight") step("next");
  else if (event.key === "Escape") backToLive();
});

await refresh();
if (view.pinned) await loadPinned();
follow();
setInterval(tick, 1000);
setInterval(loadStatus, STATUS_MS);
setInterval(() => { if (!view.streaming) refresh(); }, POLL_MS);
