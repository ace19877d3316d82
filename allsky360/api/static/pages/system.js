// Parts, storage, queue, last errors, and where the other programs' pages are.
import { ask, status } from "/static/lib/api.js";
import { card, facts, h, table } from "/static/lib/dom.js";
import { onNews } from "/static/lib/events.js";
import { NONE, clock, exposure, number, span } from "/static/lib/format.js";
import { pageOf } from "/static/lib/frames.js";
import { page, streaming } from "/static/lib/shell.js";
import { show } from "/static/lib/state.js";

const NAMES = { owner: "Camera owner", prefect: "Prefect", dask: "Dask", archive: "Archive", events: "Event stream" };
const body = h("div", {});

// A link to the loopback of the server is one to the host this page came from.
function reachable(address) {
  const url = new URL(address);
  if (["127.0.0.1", "0.0.0.0", "localhost", "[::1]", "[::]"].includes(url.hostname)) url.hostname = location.hostname;
  return url.href;
}

function parts(system) {
  const tone = { answers: "good", "does not answer": "bad", "not asked": "muted" };
  return h("ul", { class: "parts" }, system.parts.map((p) => h("li", {}, h("span", { class: `lamp ${tone[p.state] || ""}`, "aria-hidden": "true" }), h("span", { class: "part-name", text: NAMES[p.name] || p.name }),
    h("span", { class: tone[p.state] || "", text: p.state }), h("span", { class: "small muted part-detail", text: [p.detail, p.address].filter(Boolean).join(" · ") }))));
}

function storage(s) {
  if (!s.reachable) return h("p", { class: "bad", text: "The archive's disk does not answer." });
  const used = 100 * (1 - s.free_gb / s.total_gb), level = s.low ? "bad" : s.free_gb < s.total_gb * 0.15 ? "warn" : "good";
  const nights = Object.entries(s.cameras || {}).map(([slug, count]) => [slug, `${count} nights`]);
  return [h("div", { class: "bar", "data-level": level, role: "img", "aria-label": `${number(used, 0)} percent used` }, h("span", { style: { width: `${used}%` } })),
    h("p", { class: "small", text: `${number(s.free_gb, 1)} GB free of ${number(s.total_gb, 1)} GB` }), facts([["Capture pauses below", `${number(s.min_free_gb, 1)} GB`], ...nights, ...(s.root ? [["Folder", s.root]] : [])])];
}

function owner(report) {
  const o = report.owner;
  if (!o) return h("p", { class: "warn", text: "The camera owner does not answer: no frames are captured." });
  const plan = o.plan || {};
  return facts([["State", o.state || NONE], ["Camera", o.camera || NONE], ["Fault", o.fault ? `${o.fault.name}: ${o.fault.message}` : "none"], ["Frames since start", o.frames ?? NONE], ["Faults since start", o.faults ?? NONE],
    ...Object.entries(o.fault_counts || {}).map(([name, count]) => [`· ${name}`, String(count)]), ["Plan", plan.period ? `${plan.period}: ${(plan.exposures_s || []).map(exposure).join(" + ")}, gain ${plan.gain ?? NONE}` : NONE],
    ["Shutter open", Number.isFinite(o.open_share) ? number(o.open_share * 100, 0, " %") : NONE, "Share of the slot in which light was collected"]]);
}

async function load() {
  const [system, report] = await Promise.all([ask("/system"), status(1000)]);
  const links = [["prefect", "Prefect: flows and runs"], ["dask", "Dask: workers and tasks"]].filter(([name]) => system.links[name]);
  const q = system.queue;
  return h("div", { class: "system" },
    card("Parts", parts(system), h("p", { class: "links" }, links.map(([name, text]) => h("a", { class: "button", href: reachable(system.links[name]), rel: "noopener", target: "_blank" }, text)))),
    card("Storage", storage(system.storage)),
    card("Queue", facts([["Frames waiting", q.unprocessed], ["Oldest waits", q.oldest ? span((Date.parse(report.now) - Date.parse(q.oldest)) / 1000) : "–"], ["Frames tonight", report.frames_tonight],
      ["Newest frame", report.last_frame ? h("a", { href: pageOf(report.last_frame), text: `${span(report.last_frame.age_s)} ago` }) : "none yet"]])),
    card("Camera", owner(report)),
    card("This service", facts([["Version", system.version], ["Running for", span((Date.parse(system.now) - Date.parse(system.started)) / 1000)], ["Memory", number(system.memory_mb, 0, " MB")], ["This page", streaming() ? "follows live" : "polls"], ["Clock", `${clock(report.now)} UTC${report.clock_rate === 1 ? "" : `, ${report.clock_rate}× speed`}`]])),
    h("section", { class: "card wide", "aria-labelledby": "errors-title" }, h("h2", { id: "errors-title", text: "Last warnings and errors" }),
      system.errors.length ? table(["Part", "Level", "What"], [...system.errors].reverse().slice(0, 30).map((e) => [e.part, h("span", { class: e.level === "warning" ? "warn" : "bad", text: e.level }), h("code", { text: e.text })]), "Warnings and errors, newest first") : h("p", { class: "muted" }, "None in the logs.")));
}

await page(async (main) => {
  main.append(body);
  await show(body, load, "Asking every part …");
  onNews(["state", "open", "lost", "reset"], () => show(body, load), 300);
  setInterval(() => show(body, load), 10000);
});
