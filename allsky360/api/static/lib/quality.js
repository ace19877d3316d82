// How good a night was, in one word and one colour, from its summary in the calendar. Pure functions.
import { number, percent } from "/static/lib/format.js";

const CLASSES = [[0.15, "clear", "Clear"], [0.4, "mostly", "Mostly clear"], [0.7, "partly", "Partly cloudy"], [1.01, "cloudy", "Cloudy"]];

export function quality(summary) {
  if (!summary || !summary.frames) return { key: "none", word: "Nothing captured" };
  if (!Number.isFinite(summary.cloud_fraction)) return { key: "unknown", word: "Not measured" };
  const [, key, word] = CLASSES.find(([limit]) => summary.cloud_fraction < limit);
  return { key, word };
}

export function nightWords(summary) {
  const parts = [`${summary.frames} frames`];
  if (Number.isFinite(summary.cloud_fraction)) parts.push(`cloud ${percent(summary.cloud_fraction)}`);
  if (Number.isFinite(summary.sky_brightness_mag_arcsec2)) parts.push(`${number(summary.sky_brightness_mag_arcsec2, 2)} mag/arcsec²`);
  if (summary.transients) parts.push(`${summary.transients} transients`);
  return parts;
}
