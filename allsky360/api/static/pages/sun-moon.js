// Sun, Moon and planets today: arcs, twilight, phase, and how long the nights of the year are.
import { ask, clock, status } from "/static/lib/api.js";
import { onDisc } from "/static/lib/cells.js";
import { Chart } from "/static/lib/chart.js";
import { card, facts, h, n, s, table } from "/static/lib/dom.js";
import { iso, minute, number, percent } from "/static/lib/format.js";
import { compass } from "/static/lib/lens.js";
import { moonDisc, phaseName } from "/static/lib/moon.js";
import { degrees, hours } from "/static/lib/picture.js";
import { page } from "/static/lib/shell.js";
import { empty, show } from "/static/lib/state.js";
import { yearChart } from "/static/lib/year.js";

const HOUR = 3600e3;
const altitudes = new Chart({ label: "Altitude of Sun and Moon", height: 260 });
const arcs = h("div", {}), now = h("div", {}), times = h("div", {}), planets = h("div", {}), year = h("div", {}), day = h("input", { type: "date", "aria-label": "Night" });
let site = null, night = null;

const shift = (text, days) => new Date(Date.parse(`${text}T12:00:00Z`) + days * 24 * HOUR).toISOString().slice(0, 10);

async function showTimes() {
  const t = await ask(`/ephemeris/nights/${night}`), from = Date.parse(t.begins), to = Date.parse(t.ends);
  const track = await ask("/ephemeris/track", { start: iso(from), end: iso(to), points: 289 });
  const time = track.time.map((x) => Date.parse(x)), here = clock.now();
  altitudes.set({ time, from, to, here: here >= from && here <= to ? here : null, bands: t.bands, moon: moonUp(track, time), series: [
    { name: "sun", tone: "s2", label: "Sun", unit: "°", values: track.sun_altitude_deg, format: (v) => number(v, 0, "°") },
    { name: "moon", tone: "s1", label: "Moon", unit: "°", values: track.moon_altitude_deg, format: (v) => number(v, 0, "°") }] });
  arcs.replaceChildren(skyArcs(track, time, here));
  const cross = (d, what) => (d.course === "crosses" ? `${d.begins ? minute(d.begins) : "–"} to ${d.ends ? minute(d.ends) : "–"}` : d.course === "always below" ? `${what} all night` : "not in this night");
  const moon = [...t.moon_rises.map((x) => [x, "rises"]), ...t.moon_sets.map((x) => [x, "sets"])].sort().map(([x, word]) => `${word} ${minute(x)}`).join(", ");
  return facts([["Sun below the horizon", cross(t.sun, "down")], ["Below −6°, civil twilight over", cross(t.civil, "below")], ["Below −12°, nautical over", cross(t.nautical, "below")], ["Below −18°, night", cross(t.astronomical, "dark")],
    ["Lowest Sun", `${number(t.midnight_sun_deg, 1, "°")} at ${minute(t.midnight)}`], ["Moon", moon || (track.moon_altitude_deg[0] > 0 ? "up all night" : "down all night")], ["Moon lit", percent(t.moon_illumination)],
    ["Dark, Moon down", t.dark.length ? `${number(t.dark_h, 1, " h")}: ${t.dark.map((d) => `${minute(d.begins)} to ${minute(d.ends)}`).join(", ")}` : "never"]]);
}

function moonUp(track, time) {
  const spans = [];
  time.forEach((t, i) => {
    if (track.moon_altitude_deg[i] <= 0) return;
    const last = spans[spans.length - 1];
    if (last && last.i === i - 1) { last.to = t; last.i = i; } else spans.push({ from: t, to: t, i, light: track.moon_illumination[i] });
  });
  return spans;
}

// The paths of Sun and Moon over the whole sky, as seen looking up.
function skyArcs(track, time, here) {
  const line = (alt, az) => {
    let d = "", joined = false;
    alt.forEach((a, i) => { if (a < 0) { joined = false; return; } const [x, y] = onDisc(a, az[i]); d += `${joined ? "L" : "M"}${x.toFixed(3)} ${y.toFixed(3)}`; joined = true; });
    return d;
  };
  const i = time.reduce((best, t, k) => (Math.abs(t - here) < Math.abs(time[best] - here) ? k : best), 0), today = here >= time[0] && here <= time[time.length - 1];
  const body = (name, alt, az) => { if (!today || alt[i] < 0) return null; const [x, y] = onDisc(alt[i], az[i]); return s("circle", { class: `body ${name}`, cx: x, cy: y, r: 0.055 }); };
  const marks = time.map((t, k) => (new Date(t).getUTCMinutes() === 0 && new Date(t).getUTCHours() % 3 === 0 ? k : -1)).filter((k) => k >= 0);
  const ticks = (name, alt, az) => marks.filter((k) => alt[k] > 0).map((k) => { const [x, y] = onDisc(alt[k], az[k]); return [s("circle", { class: `tick ${name}`, cx: x, cy: y, r: 0.016 }), s("text", { class: "minor", x, y: y - 0.04 }, minute(time[k]).slice(0, 2))]; });
  return s("svg", { class: "arcs", viewBox: "-1.16 -1.16 2.32 2.32", role: "img", "aria-label": "Paths of Sun and Moon over the sky: zenith in the middle, north up, east left" },
    s("circle", { r: 1, class: "dome" }), [30, 60].map((alt) => s("circle", { class: "ring", r: (90 - alt) / 90 })),
    ["N", "E", "S", "W"].map((text, k) => { const [x, y] = onDisc(-7, k * 90); return s("text", { x, y: y + 0.03 }, text); }),
    s("path", { class: "arc sun", d: line(track.sun_altitude_deg, track.sun_azimuth_deg) }), s("path", { class: "arc moon-arc", d: line(track.moon_altitude_deg, track.moon_azimuth_deg) }),
    ticks("sun", track.sun_altitude_deg, track.sun_azimuth_deg), ticks("moon-arc", track.moon_altitude_deg, track.moon_azimuth_deg),
    body("sun", track.sun_altitude_deg, track.sun_azimuth_deg), body("moon-arc", track.moon_altitude_deg, track.moon_azimuth_deg));
}

async function showNow() {
  const e = await ask("/ephemeris"), by = Object.fromEntries(e.bodies.map((b) => [b.name, b]));
  planets.replaceChildren(table(["Body", n("Altitude"), "Direction", "RA", "Dec", n("Magnitude"), n("Lit")], e.bodies.map((b) => [h("span", { class: b.altitude_deg > 0 ? "" : "muted" }, b.name),
    n(number(b.altitude_deg, 1, "°")), b.altitude_deg > 0 ? `${number(b.azimuth_deg, 0, "°")} ${compass(b.azimuth_deg)}` : "below the horizon", hours(b.ra_deg), degrees(b.dec_deg), n(b.v_mag === null ? "–" : number(b.v_mag, 1)), n(percent(b.illumination))]), "Sun, Moon and planets now"));
  return h("div", {}, h("div", { class: "now" }, moonDisc(e.moon_phase_deg, site.latitude_deg, 84), h("div", {}, h("p", { class: "verdict", text: phaseName(e.moon_phase_deg) }), h("p", { class: "muted small", text: `${percent(by.Moon.illumination)} lit, age ${number((e.moon_phase_deg / 360) * 29.53, 1)} days` }))),
    facts([["Now", e.phase], ["Sun", `${number(by.Sun.altitude_deg, 1, "°")} ${compass(by.Sun.azimuth_deg)}`], ["Moon", `${number(by.Moon.altitude_deg, 1, "°")} ${compass(by.Moon.azimuth_deg)}`], ["Sidereal time", hours(e.sidereal_time_h * 15)], ["UTC", `${minute(e.time)}`]]));
}

function choose(text) {
  night = text;
  day.value = text;
  show(times, showTimes, "Computing the night …");
}

await page(async (main) => {
  const begin = h("div", {});
  main.append(begin);
  await show(begin, async () => {
    const report = await status();
    site = report.site;
    if (!site) return empty("The site is not known", "Set site.latitude_deg and site.longitude_deg in the settings, and this page knows Sun, Moon and planets.");
    night = report.night;
    day.value = night;
    day.addEventListener("change", () => { if (day.value) choose(day.value); });
    const move = (days, text, name) => h("button", { type: "button", class: "button", "aria-label": name, onclick: () => choose(shift(night, days)) }, text);
    queueMicrotask(() => { show(now, showNow); show(times, showTimes, "Computing the night …"); yearChart(year, site, Number(report.now.slice(0, 4)), report.now); });
    setInterval(() => show(now, showNow), 60000);
    return h("div", { class: "stack" },
      h("div", { class: "columns" }, h("div", { class: "stack" },
        h("section", { class: "card", "aria-label": "Night" }, h("div", { class: "toolbar" }, move(-1, "‹", "Night before"), day, move(1, "›", "Night after"), h("button", { type: "button", class: "chip", onclick: () => choose(report.night) }, "Tonight"), h("span", { class: "push small muted", text: "UTC" })), altitudes.root),
        card("The year's nights", year)),
      h("div", { class: "stack" }, card("Now", now), card("This night", times), card("Over the sky", arcs))), card("Planets", planets));
  }, "Asking for the site …");
});
