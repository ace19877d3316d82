// Day, twilight and night, and when the Moon is up, for the ground of a chart.
import { ask, status } from "/static/lib/api.js";

const DAY = 864e5, MOST_DAYS = 31;
const kept = new Map();

const text = (t) => new Date(t).toISOString().slice(0, 10);

// Bands and Moon for a range in ms; empty beyond a month (stripes would be noise) and where the site is not known.
export async function shading(from, to) {
  if (!(to > from) || to - from > (MOST_DAYS - 3) * DAY) return { bands: [], moon: [] };
  const start = text(from - 1.5 * DAY), end = text(to + 1.5 * DAY), key = `${start} ${end}`;
  if (!kept.has(key)) kept.set(key, load(start, end).catch(() => ({ bands: [], moon: [] })));
  return kept.get(key);
}

async function load(start, end) {
  if (!(await status(60000)).site) return { bands: [], moon: [] };
  const { nights } = await ask("/ephemeris/nights", { start, end });
  const bands = nights.flatMap((n) => n.bands);
  const events = nights.flatMap((n) => [...n.moon_rises.map((t) => [Date.parse(t), true]), ...n.moon_sets.map((t) => [Date.parse(t), false])]).sort((a, b) => a[0] - b[0]);
  const light = (t) => nights.reduce((best, n) => (Math.abs(Date.parse(n.midnight) - t) < Math.abs(Date.parse(best.midnight) - t) ? n : best), nights[0]).moon_illumination;
  const first = Date.parse(nights[0].begins), last = Date.parse(nights[nights.length - 1].ends), moon = [];
  let up = events.length && !events[0][1] ? first : null;  // it sets first: it was up
  for (const [t, rises] of events) {
    if (rises) up = t;
    else if (up !== null) { moon.push({ from: up, to: t, light: light((up + t) / 2) }); up = null; }
  }
  if (up !== null) moon.push({ from: up, to: last, light: light(up) });
  return { bands, moon };
}
