// The frame of every page: navigation on the phone, colours, camera choice, and how things are.
import { $, h } from "/static/lib/dom.js";
import { ask, camera, clock, status } from "/static/lib/api.js";
import { onNews, stream } from "/static/lib/events.js";
import { span } from "/static/lib/format.js";

const STATUS_MS = 10000;
let newest = null;

function themes() {
  const button = $("theme"), all = ["dark", "light", "red"];
  const words = { dark: "dark", light: "light", red: "red, for the dark-adapted eye" };
  const say = () => {
    const now = document.documentElement.dataset.theme;
    button.querySelector(".sr").textContent = `Colours: ${words[now]}`;
    button.title = `Colours: ${words[now]}. Click to change.`;
  };
  button.addEventListener("click", () => {
    const next = all[(all.indexOf(document.documentElement.dataset.theme) + 1) % all.length];
    document.documentElement.dataset.theme = next;
    try { localStorage.setItem("theme", next); } catch { /* not remembered, still changed */ }
    say();
    dispatchEvent(new Event("themechange"));
  });
  say();
}

function menu() {
  const button = $("more"), rail = $("rail");
  const set = (open) => {
    rail.classList.toggle("open", open);
    button.setAttribute("aria-expanded", String(open));
    if (open) (rail.querySelector("[aria-current]") || rail.querySelector("a")).focus();
  };
  button.addEventListener("click", () => set(!rail.classList.contains("open")));
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && rail.classList.contains("open")) { set(false); button.focus(); }
  });
}

async function cameras() {
  const { cameras: all } = await ask("/cameras");
  if (all.length < 2) return;
  const select = $("camera");
  select.replaceChildren(...all.map((c) => h("option", { value: c.slug, text: c.slug })));
  const now = (await status()).last_frame;
  select.value = camera.chosen || (now && now.camera) || all[0].slug;
  select.addEventListener("change", () => camera.choose(select.value));
  select.closest("label").hidden = false;
}

function say(state, words) {
  $("pill").textContent = state;
  $("pill").dataset.state = state;
  const banner = $("banner");
  banner.hidden = !words;
  banner.dataset.state = state;
  if (banner.textContent !== words) banner.textContent = words;  // said once, not at every look
}

function words(report) {
  const about = [];
  if (report.state !== "live") about.push(report.message);
  if (report.unprocessed > 5) about.push(`${report.unprocessed} frames wait for processing.`);
  if (!report.storage.reachable) about.push("The archive's disk does not answer.");
  else if (report.storage.low) about.push(`Disk space is low: ${report.storage.free_gb.toFixed(1)} GB left.`);
  return about.join(" ");
}

async function look(maxAge_ms) {
  try {
    const report = await status(maxAge_ms);
    newest = report.last_picture;
    $("site").textContent = report.site ? report.site.name : "";
    say(report.state, words(report));
    tick();
  } catch (error) {
    say(error.status === 401 ? "locked" : "offline", error.status ? error.message : "The read service cannot be reached. This page tries again by itself.");
  }
}

function tick() {
  $("age").textContent = newest ? `picture ${span((clock.now() - Date.parse(newest.time)) / 1000)} old` : "";
}

// Builds the page around what `start` makes; every page's module calls it once.
export function page(start) {
  themes();
  menu();
  look();
  cameras().catch(() => { /* the banner says that the service cannot be reached */ });
  onNews(["open", "lost", "state", "reset", "poll"], () => look(0));
  onNews(["frame"], () => look(0), 700);  // the page's own picture first
  setInterval(look, STATUS_MS, 0);
  setInterval(tick, 1000);
  return Promise.resolve(start($("main"))).finally(() => { document.body.dataset.ready = "yes"; });
}

export const streaming = () => stream.open;
