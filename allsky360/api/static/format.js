// Numbers and times as people read them. Pure functions.

export const NONE = "–";

export function number(value, digits, unit = "") {
  return Number.isFinite(value) ? `${value.toFixed(digits)}${unit}` : NONE;
}

export function exposure(seconds) {
  if (!Number.isFinite(seconds)) return NONE;
  if (seconds >= 10) return `${Number(seconds.toFixed(1))} s`;
  if (seconds >= 1) return `${Number(seconds.toFixed(2))} s`;
  if (seconds >= 0.001) return `${Number((seconds * 1e3).toPrecision(3))} ms`;
  return `${Number((seconds * 1e6).toPrecision(3))} µs`;
}

export function age(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} days`;
}

export const clock = (iso) => iso.slice(11, 19);
export const minute = (iso) => iso.slice(11, 16);
export const day = (iso) => iso.slice(0, 10);
