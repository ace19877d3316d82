// One frame in full: picture, overlays, numbers, neighbours.
import { card, facts, h } from "/static/lib/dom.js";
import { persistently } from "/static/lib/events.js";
import { date, span } from "/static/lib/format.js";
import { frameFacts, framesOf, getFrame, nightPage, pageOf, rawLinks, skyFacts, thumbnail, when } from "/static/lib/frames.js";
import { Picture } from "/static/lib/picture.js";
import { page } from "/static/lib/shell.js";
import { failed, message, passes } from "/static/lib/state.js";

const picture = new Picture({ label: "Picture of this frame" });
const cover = h("div", {}), strip = h("div", { class: "strip", role: "list", "aria-label": "Frames around" });
const numbers = h("div", {}), sky = h("div", {}), origin = h("div", {}), caption = h("p", { class: "small muted numeric", id: "caption", "aria-live": "polite" });
const before = h("button", { type: "button", class: "button", onclick: () => step("previous") }, "‹ Previous");
const after = h("button", { type: "button", class: "button", onclick: () => step("next") }, "Next ›");
const up = h("a", { class: "button", href: "/nights" }, "The night");
let frame = null, around = [];

const idOf = (address) => /frames\/([\d-]+\/\d+)/.exec(address)?.[1];
const here = () => location.pathname.replace(/^\/frames\//, "");

const load = persistently(async () => {
  try {
    frame = await getFrame(here());
    document.title = `${when(frame)} · allsky360`;
    document.querySelector(".page-title").textContent = `${date(String(frame.night))}, frame ${frame.index}`;
    before.disabled = !frame.neighbours.previous;
    after.disabled = !frame.neighbours.next;
    up.href = nightPage(frame.night);
    caption.textContent = when(frame);
    caption.dataset.frame = frame.id;
    numbers.replaceChildren(facts(frameFacts(frame)), rawLinks(frame));
    const rows = skyFacts(frame);
    sky.replaceChildren(rows.length ? facts(rows) : h("p", { class: "muted", text: frame.processed ? "This frame was not measured." : "Measured when it is processed." }));
    showOrigin();
    if (frame.processed) {
      await picture.show(frame);
      cover.replaceChildren();
    } else cover.replaceChildren(message("empty", "Not processed yet", "The raw exposures are stored; the picture follows when it is processed."));
    showStrip();
    return true;
  } catch (error) {
    cover.replaceChildren(failed(error, load));
    return !passes(error);
  }
});

function showOrigin() {
  const p = frame.provenance, seconds = (p.steps || []).reduce((sum, s) => sum + (s.seconds || 0), 0);
  const words = p.sky || {};
  origin.replaceChildren(facts([
    ["Software", p.software || "–"], ["Settings", p.parameters_digest ? String(p.parameters_digest).slice(0, 12) : "–", "Digest of the processing settings"],
    ["Lens", words.lens ? `no. ${words.lens.serial}` : "none"], ["Verdict then", words.safety || "–", words.safety_reason],
    ["Processed", frame.processed_at ? `${span((Date.parse(frame.processed_at) - Date.parse(frame.time)) / 1000)} after its start` : "–"],
    ["Steps", (p.steps || []).length ? h("a", { href: `/steps?frame=${frame.id}`, text: `${p.steps.length} in ${seconds.toFixed(1)} s` }) : "–"]]),
  ...((p.warnings || []).map((w) => h("p", { class: "small warn", text: String(w) }))));
}

async function showStrip() {
  if (!around.length || around[0].night !== frame.night || !around.some((f) => f.id === frame.id)) {
    around = await framesOf(frame.night, { camera: frame.camera }).catch(() => []);
  }
  const at = around.findIndex((f) => f.id === frame.id), first = Math.max(0, at - 6);
  strip.replaceChildren(...around.slice(first, first + 13).map((f) => {
    const link = thumbnail(f, { current: f.id === frame.id });
    link.addEventListener("click", (event) => { if (!event.ctrlKey && !event.metaKey && !event.shiftKey) { event.preventDefault(); go(f.id); } });
    return h("div", { role: "listitem" }, link);
  }));
}

function go(id) {
  history.pushState(null, "", pageOf({ id }));
  load();
}

function step(which) {
  const id = frame && frame.neighbours[which] && idOf(frame.neighbours[which]);
  if (id) go(id);
}

await page(async (main) => {
  picture.viewer.root.append(cover);
  cover.replaceChildren(message("loading", "Asking for the frame …"));
  main.append(h("div", { class: "columns" },
    h("div", { class: "stack" }, h("div", { class: "toolbar" }, before, after, up, h("span", { class: "push" }, caption)), picture.root, h("section", { "aria-label": "Frames around" }, strip)),
    h("div", { class: "stack" }, card("Sky", sky), card("Frame", numbers), card("Where it comes from", origin))));
  addEventListener("popstate", load);
  addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key === "ArrowLeft") step("previous");
    else if (event.key === "ArrowRight") step("next");
  });
  await load();
});
