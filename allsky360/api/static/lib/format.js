// Numbers and times as people read them. Pure functions.
export const NONE = "–";

export function number(value, digits, unit = "") {
  return Number.isFinite(value) ? `${value.toFixed(digits).replace("-", "−")}${unit}` : NONE;
}

export const percent = (share, digits = 0) => number(share * 100, digits, " %");

export function exposure(seconds) {
  if (!Number.isFinite(seconds)) return NONE;
  if (seconds >= 10) return `${Number(seconds.toFixed(1))} s`;
  if (seconds >= 1) return `${Number(seconds.toFixed(2))} s`;
  if (seconds >= 0.001) return `${Number((seconds * 1e3).toPrecision(3))} ms`;
  return `${Number((seconds * 1e6).toPrecision(3))} µs`;
}

// A duration: "45 s", "12 min 5 s", "3 h 20 min", "5 days".
export function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 90) return `${s} s`;
  if (s < 5400) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} days`;
}

export function bytes(count) {
  if (!Number.isFinite(count)) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  const i = count < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(count) / 3));
  return `${Number((count / 1000 ** i).toPrecision(3))} ${units[i]}`;
}

export const iso = (when) => new Date(when).toISOString();
export const clock = (when) => iso(when).slice(11, 19);
export const minute = (when) => iso(when).slice(11, 16);
export const day = (when) => iso(when).slice(0, 10);

const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
export const WEEKDAYS = ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"];
export const month = (text) => `${MONTHS[Number(text.slice(5, 7)) - 1]} ${text.slice(0, 4)}`;

// "26 November 2026" of "2026-11-26".
export const date = (text) => `${Number(text.slice(8, 10))} ${MONTHS[Number(text.slice(5, 7)) - 1]} ${text.slice(0, 4)}`;

// A measurement's name as people say it, with its unit: sky_brightness_mag_arcsec2 -> Sky brightness, mag/arcsec².
const SUFFIXES = [
  ["_mag_arcsec2", "mag/arcsec²"], ["_deg", "°"], ["_px", "px"], ["_mag", "mag"], ["_adu", "ADU"], ["_s", "s"], ["_h", "h"],
  ["_c", "°C"], ["_ev", "EV"],
];
const NAMES = {
  level: "Level of the longest exposure", gain: "Gain", exposure_s: "Longest exposure", cloud_fraction: "Cloud fraction",
  stars_found: "Stars found", stars_matched: "Stars matched", stars_detected: "Catalogue stars seen", sky_clear: "Clear share",
  sky_cloudy: "Cloudy share", sky_unknown: "Share that cannot be told", temperature_c: "Sensor temperature",
};
export function variable(name) {
  const sigma = name.endsWith("_sigma");
  const base = sigma ? name.slice(0, -6) : name;
  const found = SUFFIXES.find(([suffix]) => base.endsWith(suffix));
  const words = (found ? base.slice(0, -found[0].length) : base).replaceAll("_", " ");
  const label = NAMES[base] || words.charAt(0).toUpperCase() + words.slice(1);
  return { label: sigma ? `${label}, standard deviation` : label, unit: found ? found[1] : "" };
}
