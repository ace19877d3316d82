// How long the nights of a year are: a bar a night from dusk to dawn, with twilight and the Moon.
import { ask } from "/static/lib/api.js";
import { h, s } from "/static/lib/dom.js";
import { date, minute, month, number, percent } from "/static/lib/format.js";
import { failed } from "/static/lib/state.js";

const HEIGHT = 264, LEFT = 34, TOP = 6, HOUR = 3600e3;
let WIDTH = 732;  // as wide as there is room, so that the writing keeps its size
const x = (i) => LEFT + i * ((WIDTH - LEFT - 4) / 366);
const y = (hours) => TOP + (hours / 24) * (HEIGHT - TOP - 20);

export async function yearChart(target, site, year, today) {
  WIDTH = Math.max(300, target.clientWidth || WIDTH);
  const svg = s("svg", { class: "year", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `Length of the nights of ${year}, from local noon to noon` });
  const note = h("p", { class: "small muted", "aria-live": "polite" }, "Computing the year …");
  const nights = [];
  svg.append(s("rect", { class: "year-day", x: LEFT, y: TOP, width: WIDTH - LEFT - 4, height: y(24) - TOP }),
    ...[0, 6, 12, 18, 24].flatMap((hour) => [s("line", { class: "chart-grid", x1: LEFT, x2: WIDTH - 4, y1: y(hour), y2: y(hour) }), s("text", { class: "chart-tick", x: LEFT - 5, y: y(hour) + 4, "text-anchor": "end" }, String((hour + 12) % 24))]));
  const read = (event) => {
    const at = Math.round((((event.clientX - svg.getBoundingClientRect().left) / svg.clientWidth) * WIDTH - LEFT) / ((WIDTH - LEFT - 4) / 366));
    if (nights[at]) note.textContent = words(nights[at]);
  };
  svg.addEventListener("pointermove", read);
  target.replaceChildren(svg, note);
  try {
    for (let m = 0; m < 12; m += 1) {
      const start = `${year}-${String(m + 1).padStart(2, "0")}-01`, end = m === 11 ? `${year + 1}-01-01` : `${year}-${String(m + 2).padStart(2, "0")}-01`;
      const answer = await ask("/ephemeris/nights", { start, end });
      svg.append(s("text", { class: "chart-tick", x: x(nights.length) + 3, y: HEIGHT - 5 }, month(start).slice(0, WIDTH < 500 ? 1 : 3)));
      for (const night of answer.nights) { svg.append(...bars(night, nights.length)); nights.push(night); }
    }
    const here = nights.findIndex((n) => Date.parse(n.begins) <= Date.parse(today) && Date.parse(today) < Date.parse(n.ends));
    if (here >= 0) svg.append(s("line", { class: "chart-here", x1: x(here) + 1, x2: x(here) + 1, y1: TOP, y2: y(24) }));
    const dark = nights.reduce((sum, n) => sum + n.dark_h, 0);
    note.textContent = `${number(dark, 0)} dark hours without Moon in ${year} at ${site.name || "this site"}. Local solar time from noon to noon; point at a night to read it.`;
  } catch (error) {
    target.replaceChildren(failed(error, () => yearChart(target, site, year, today)));
  }
}

function bars(night, i) {
  const begins = Date.parse(night.begins), hours = (t) => (Date.parse(t) - begins) / HOUR, w = (WIDTH - LEFT - 4) / 366 + 0.5;
  const box = (from, to, name) => s("rect", { class: name, x: x(i), width: w, y: y(from), height: Math.max(0, y(to) - y(from)) });
  const span = (d, name) => (d.course === "always above" ? null : box(d.begins ? hours(d.begins) : 0, d.ends ? hours(d.ends) : 24, name));
  return [span(night.sun, "year-civil"), span(night.civil, "year-nautical"), span(night.nautical, "year-astro"), span(night.astronomical, "year-night"),
    ...night.dark.map((d) => box(hours(d.begins), hours(d.ends), "year-dark"))].filter(Boolean);
}

function words(night) {
  const d = night.astronomical;
  const dark = d.course === "crosses" ? `night from ${d.begins ? minute(d.begins) : "–"} to ${d.ends ? minute(d.ends) : "–"} UTC` : d.course === "always below" ? "dark all day" : "no astronomical night";
  return `${date(night.night)}: ${dark}, ${number(night.dark_h, 1)} h of it without Moon, Moon ${percent(night.moon_illumination)} lit.`;
}

