// How a frame came about: its processing steps in order, two pictures side by side where they are kept.
import { ask, status } from "/static/lib/api.js";
import { card, facts, h } from "/static/lib/dom.js";
import { number } from "/static/lib/format.js";
import { getFrame, latest, pageOf, part, rawLinks, when } from "/static/lib/frames.js";
import { page } from "/static/lib/shell.js";
import { empty, show } from "/static/lib/state.js";

const asked = new URLSearchParams(location.search).get("frame");
const body = h("div", {});

// "black-level" as "Black level", "hdr-merge" as "HDR merge".
const title = (name) => { const text = name.replace(/[-_]/g, " ").replace(/\b(hdr|acdnr|scnr)\b/g, (w) => w.toUpperCase()); return text.charAt(0).toUpperCase() + text.slice(1); };
const written = (value) => (typeof value === "number" ? String(Number(value.toPrecision(5))) : value === null ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value));

const took = (seconds) => (seconds === null ? "" : seconds < 1 ? `${number(seconds * 1000, 0)} ms` : number(seconds, 1, " s"));

function step(one, slowest) {
  const rows = [...Object.entries(one.parameters || {}), ...Object.entries(one.numbers || {})].filter(([, v]) => v !== null && !(typeof v === "object" && JSON.stringify(v).length > 300));
  const share = one.seconds ? Math.min(100, (100 * one.seconds) / slowest) : 0;
  return h("li", {}, h("details", { class: "step" }, h("summary", {}, h("span", { class: "step-number numeric", text: String(one.number + 1) }), h("b", { text: title(one.name) }),
    h("span", { class: "bar step-bar", "aria-hidden": "true" }, h("span", { style: { width: `${share}%` } })), h("span", { class: "numeric small muted", text: took(one.seconds) })),
  rows.length ? facts(rows.map(([k, v]) => [k.replaceAll("_", " "), written(v)])) : h("p", { class: "muted small", text: "Nothing to set." })));
}

// The frame asked for; else the newest, or the one nearest to it whose pictures are kept.
async function choose() {
  const found = asked ? { frame: await getFrame(asked) } : await latest(await status(1000));
  if (!found.frame || !found.frame.processed) return { reason: found.reason || "Its steps are known when it is processed.", title: found.frame ? "Not processed yet" : "No frame yet" };
  const listed = (frame) => ask(part(frame, "/steps", { revision: frame.revision }));
  const list = await listed(found.frame);
  if (asked || !list.nearest_with_pictures) return { frame: found.frame, list };
  const frame = await getFrame(list.nearest_with_pictures);
  return { frame, list: await listed(frame) };
}

async function load() {
  const { frame, list, title: name, reason } = await choose();
  if (!list) return empty(name, reason);
  const slowest = Math.max(1e-6, ...list.steps.map((s) => s.seconds || 0)), total = list.steps.reduce((sum, s) => sum + (s.seconds || 0), 0);
  const kept = list.steps.filter((s) => s.picture), near = list.nearest_with_pictures;
  const none = kept.length ? null : h("p", { class: "small muted" }, "Pictures of the steps are kept of some frames only",
    near ? [": the nearest is ", h("a", { href: `/steps?frame=${near}`, text: `frame ${Number(near.split("/")[1])}` }), "."] : ", of none in this night yet.");
  return h("div", { class: "stack" }, kept.length ? sideBySide(kept) : null, h("div", { class: "columns" },
    h("section", { class: "card", "aria-labelledby": "steps-title" }, h("h2", { id: "steps-title", text: `${list.steps.length} steps, ${number(total, 2, " s")}` }), h("ol", { class: "steps" }, list.steps.map((one) => step(one, slowest)))),
    h("div", { class: "stack" }, card("What came of it", h("a", { href: pageOf(frame) }, h("img", { class: "result", src: `${frame.links.picture}&width=720`, alt: `All-sky picture of ${when(frame)}` })), h("p", { class: "small muted numeric", text: when(frame) }), rawLinks(frame), none),
    card("Made by", facts([["Software", list.software || "–"], ["Settings", list.parameters_digest ? list.parameters_digest.slice(0, 12) : "–"]]), list.warnings.map((w) => h("p", { class: "small warn", text: w }))))));
}

// All pictures in order; a press puts one on the right, beside the one chosen on the left.
function sideBySide(kept) {
  const words = (one) => `${one.number + 1} ${title(one.name)}`;
  const side = (start, name) => {
    const image = h("img", { alt: "" });
    const select = h("select", { onchange: () => set(Number(select.value)) }, kept.map((one, i) => h("option", { value: String(i), text: words(one) })));
    const set = (i) => { image.src = kept[i].picture; image.alt = `After step ${words(kept[i])}`; select.value = String(i); };
    set(start);
    return { set, root: h("div", {}, h("label", { class: "field" }, name, select), image) };
  };
  const left = side(0, "Left"), right = side(kept.length - 1, "Right");
  const strip = h("ol", { class: "step-strip" }, kept.map((one, i) => h("li", {}, h("button", { type: "button", class: "step-picture", onclick: () => right.set(i) },
    h("img", { src: one.picture, alt: "", loading: "lazy" }), h("span", { text: words(one) }), h("span", { class: "numeric small muted", text: took(one.seconds) })))));
  return card("Side by side", h("div", { class: "sides" }, left.root, right.root), strip);
}

await page(async (main) => {
  main.append(body);
  await show(body, load, "Asking how it was made …");
});
