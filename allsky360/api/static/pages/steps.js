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

function step(one, slowest) {
  const rows = [...Object.entries(one.parameters || {}), ...Object.entries(one.numbers || {})].filter(([, v]) => v !== null && !(typeof v === "object" && JSON.stringify(v).length > 300));
  const share = one.seconds ? Math.min(100, (100 * one.seconds) / slowest) : 0;
  return h("li", {}, h("details", { class: "step" }, h("summary", {}, h("span", { class: "step-number numeric", text: String(one.number + 1) }), h("b", { text: title(one.name) }),
    h("span", { class: "bar step-bar", "aria-hidden": "true" }, h("span", { style: { width: `${share}%` } })), h("span", { class: "numeric small muted", text: one.seconds === null ? "" : `${number(one.seconds * 1000, 0)} ms` })),
  rows.length ? facts(rows.map(([k, v]) => [k.replaceAll("_", " "), written(v)])) : h("p", { class: "muted small", text: "Nothing to set." })));
}

async function load() {
  let frame = null;
  if (asked) frame = await getFrame(asked);
  else {
    const found = await latest(await status(1000));
    if (!found.frame) return empty("No frame yet", found.reason);
    frame = found.frame;
  }
  if (!frame.processed) return empty("Not processed yet", "Its steps are known when it is processed.");
  const list = await ask(part(frame, "/steps", { revision: frame.revision }));
  const slowest = Math.max(1e-6, ...list.steps.map((s) => s.seconds || 0)), total = list.steps.reduce((sum, s) => sum + (s.seconds || 0), 0);
  const kept = list.steps.filter((s) => s.picture);
  return h("div", { class: "stack" }, kept.length ? card("Side by side", compare(kept)) : null, h("div", { class: "columns" },
    h("section", { class: "card", "aria-labelledby": "steps-title" }, h("h2", { id: "steps-title", text: `${list.steps.length} steps, ${number(total, 2, " s")}` }), h("ol", { class: "steps" }, list.steps.map((one) => step(one, slowest)))),
    h("div", { class: "stack" }, card("What came of it", h("a", { href: pageOf(frame) }, h("img", { class: "result", src: `${frame.links.picture}&width=720`, alt: `All-sky picture of ${when(frame)}` })), h("p", { class: "small muted numeric", text: when(frame) }), rawLinks(frame),
      kept.length ? null : h("p", { class: "small muted", text: "Pictures of the steps between were not kept for this frame." })),
    card("Made by", facts([["Software", list.software || "–"], ["Settings", list.parameters_digest ? list.parameters_digest.slice(0, 12) : "–"]]), list.warnings.map((w) => h("p", { class: "small warn", text: w }))))));
}

function compare(kept) {
  const side = (start, name) => {
    const image = h("img", { alt: "" }), set = (i) => { image.src = kept[i].picture; image.alt = `After step ${kept[i].number + 1}, ${kept[i].name}`; };
    const select = h("select", { onchange: () => set(Number(select.value)) }, kept.map((one, i) => h("option", { value: String(i), text: `${one.number + 1} ${title(one.name)}`, selected: i === start })));
    set(start);
    return h("div", {}, h("label", { class: "field" }, name, select), image);
  };
  return h("div", { class: "sides" }, side(0, "Left"), side(kept.length - 1, "Right"));
}

await page(async (main) => {
  main.append(body);
  await show(body, load, "Asking how it was made …");
});
