// Axes: which numbers to write along them. Pure functions.
const HOUR = 3600e3, DAY = 24 * HOUR;
const TIME_STEPS = [60e3, 300e3, 600e3, 900e3, 1800e3, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 60 * DAY, 120 * DAY];

export function niceStep(span, count) {
  const raw = span / Math.max(1, count), power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 2.5, 5, 10].map((m) => m * power).find((step) => step >= raw * 0.999);
}

export function ticks(low, high, count) {
  const step = niceStep(high - low || 1, count), found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(Number((i * step).toPrecision(12)));
  return found;
}

export function timeTicks(from, to, count) {
  const step = TIME_STEPS.find((t) => (to - from) / t <= count) || 365 * DAY;
  const found = [];
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) found.push(t);
  return { step, ticks: found };
}

export function timeLabel(t, step) {
  const text = new Date(t).toISOString();
  if (step >= DAY) return text.slice(5, 10);
  return text.slice(11, 16) === "00:00" ? text.slice(5, 10) : text.slice(11, 16);
}

// Lowest and highest finite value with some room; `log` works in powers of ten.
export function extent(values, { log = false, zero = false } = {}) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value) || (log && value <= 0)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return null;
  if (log) { low = Math.log10(low); high = Math.log10(high); }
  if (zero && !log) low = Math.min(0, low);
  if (high - low < 1e-9) { const room = Math.abs(high) * 0.05 || 0.5; return [low - room, high + room]; }
  const room = (high - low) * 0.07;
  return [zero && low === 0 ? 0 : low - room, high + room];
}

export const short = (value) => (Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(1) : String(Number(value.toPrecision(4)))).replace("-", "−");
