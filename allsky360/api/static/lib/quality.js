// How good a night was, in one word and one colour, from its quality in the list of nights. Pure functions.
import { number, percent } from "/static/lib/format.js";

const CLASSES = [[0.15, "clear", "Clear"], [0.4, "mostly", "Mostly clear"], [0.7, "partly", "Partly cloudy"], [1.01, "cloudy", "Cloudy"]];

export function quality(known) {
  if (!known || !known.frames) return { key: "none", word: "Nothing captured" };
  if (!Number.isFinite(known.cloud_share)) return { key: "unknown", word: "Not measured" };
  const [, key, word] = CLASSES.find(([limit]) => known.cloud_share < limit);
  return { key, word };
}

export function nightWords(known) {
  if (!known) return ["cannot be read"];
  const parts = [`${known.frames} frames`];
  if (Number.isFinite(known.cloud_share)) parts.push(`cloud ${percent(known.cloud_share)}`);
  if (Number.isFinite(known.best_sky_brightness_mag_arcsec2)) parts.push(`${number(known.best_sky_brightness_mag_arcsec2, 2)} mag/arcsec²`);
  if (known.transients) parts.push(`${known.transients} transients`);
  return parts;
}
