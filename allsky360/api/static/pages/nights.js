// All nights as a calendar: how good each was at a glance.
import { ask } from "/static/lib/api.js";
import { h } from "/static/lib/dom.js";
import { onNews } from "/static/lib/events.js";
import { WEEKDAYS, date, month, percent } from "/static/lib/format.js";
import { nightDates, nightPage } from "/static/lib/frames.js";
import { nightWords, quality } from "/static/lib/quality.js";
import { page } from "/static/lib/shell.js";
import { empty, show } from "/static/lib/state.js";

const calendar = h("section", { class: "card", "aria-label": "Calendar" });
const recent = h("section", { "aria-label": "Nights of this month" });
let nights = [], shown = null;

const add = (text, months) => {
  const at = new Date(Date.UTC(Number(text.slice(0, 4)), Number(text.slice(5, 7)) - 1 + months, 1));
  return at.toISOString().slice(0, 10);
};

function days(first) {
  const at = new Date(`${first}T00:00:00Z`), count = new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, 0)).getUTCDate();
  return { lead: (at.getUTCDay() + 6) % 7, all: Array.from({ length: count }, (_, i) => `${first.slice(0, 8)}${String(i + 1).padStart(2, "0")}`) };
}

function cell(day, item) {
  const summary = item && (item.quality || {}), known = quality(summary), number = h("span", { class: "day", text: String(Number(day.slice(8))) });
  if (!summary) return h("td", {}, h("div", { class: "cell" }, number));
  const about = [date(day), known.word, ...nightWords(item.quality)].join(", ");
  return h("td", {}, h("a", { class: "cell", "data-quality": known.key, href: nightPage(day), "aria-label": about, title: about.replaceAll(", ", "\n") }, number,
    summary.thumbnail ? h("img", { src: summary.thumbnail, alt: "", loading: "lazy" }) : null,
    h("span", { class: "cell-word", "aria-hidden": "true", text: Number.isFinite(summary.cloud_share) ? `${percent(summary.cloud_share)} cloud` : summary.frames ? `${summary.frames} frames` : "?" })));
}

async function showMonth(first) {
  shown = first;
  const { nights: found } = await ask("/nights", { start: first, end: add(first, 1), limit: 31 });
  if (first !== shown) return [];
  const known = new Map(found.map((n) => [n.night, n]));
  const { lead, all } = days(first), cells = [...Array(lead).fill(null), ...all];
  while (cells.length % 7) cells.push(null);
  const weeks = Array.from({ length: cells.length / 7 }, (_, w) => cells.slice(w * 7, w * 7 + 7));
  const oldest = `${nights[nights.length - 1].slice(0, 8)}01`, newest = `${nights[0].slice(0, 8)}01`;
  const move = (text, to, name) => h("button", { type: "button", class: "button", disabled: to < oldest || to > newest, "aria-label": name, onclick: () => go(to) }, text);
  recent.replaceChildren(h("div", { class: "grid" }, found.map(nightCard)));
  return [
    h("div", { class: "toolbar month" }, move("‹", add(first, -1), "Month before"), h("h2", { class: "month-name", "aria-live": "polite", text: month(first) }), move("›", add(first, 1), "Month after"),
      h("label", { class: "field push" }, h("span", { class: "sr", text: "Go to month" }), monthChoice(first))),
    h("table", { class: "calendar" }, h("caption", { class: "sr", text: `Nights of ${month(first)}` }), h("thead", {}, h("tr", {}, WEEKDAYS.map((d) => h("th", { scope: "col", text: d })))),
      h("tbody", {}, weeks.map((week) => h("tr", {}, week.map((day) => (day ? cell(day, known.get(day)) : h("td", {}))))))),
    legend(),
  ];
}

function monthChoice(first) {
  const months = [...new Set(nights.map((n) => n.slice(0, 7)))];
  if (!months.includes(first.slice(0, 7))) months.unshift(first.slice(0, 7));
  return h("select", { onchange: (event) => go(`${event.target.value}-01`) }, months.map((m) => h("option", { value: m, selected: m === first.slice(0, 7), text: month(`${m}-01`) })));
}

function legend() {
  const words = [["clear", "clear"], ["mostly", "mostly clear"], ["partly", "partly cloudy"], ["cloudy", "cloudy"], ["unknown", "not measured"]];
  return h("ul", { class: "legend small muted", "aria-label": "Colours" }, words.map(([key, word]) => h("li", {}, h("span", { class: "swatch", "data-quality": key, "aria-hidden": "true" }), word)));
}

function nightCard(item) {
  const summary = item.quality || {}, known = quality(summary);
  return h("a", { class: "card night-card", href: nightPage(item.night) }, summary.thumbnail ? h("img", { src: summary.thumbnail, alt: "", loading: "lazy" }) : h("span", { class: "night-none" }),
    h("span", { class: "night-words" }, h("b", { text: date(item.night) }), h("span", { class: "quality", "data-quality": known.key, text: known.word }),
      nightWords(item.quality).map((w) => h("span", { class: "small muted", text: w }))));
}

function go(first) {
  history.replaceState(null, "", `?month=${first.slice(0, 7)}`);
  show(calendar, () => showMonth(first), "Reading the month …");
}

await page(async (main) => {
  main.append(h("div", { class: "stack" }, calendar, recent));
  const begin = () => show(calendar, async () => {
    nights = await nightDates();
    if (!nights.length) return empty("No nights yet", "The calendar fills with the first night that is captured.");
    const asked = new URLSearchParams(location.search).get("month");
    return showMonth(/^\d{4}-\d\d$/.test(asked || "") ? `${asked}-01` : `${nights[0].slice(0, 8)}01`);
  }, "Reading the nights …");
  await begin();
  onNews(["frame", "reset"], () => { if (!nights.length) begin(); }, 3000);
});
