// Colour scales for maps. Each gives a CSS colour for a share from 0 to 1. Pure functions.
const SCALES = {
  // cividis-like: even steps of lightness, told apart by colour-blind eyes
  brightness: [[8, 20, 66], [36, 63, 120], [84, 96, 124], [128, 124, 120], [176, 158, 98], [224, 196, 64], [255, 236, 120]],
  cloud: [[16, 52, 104], [66, 106, 156], [136, 156, 180], [192, 196, 202], [240, 240, 242]],
};
export const UNKNOWN = "#4a4a52";

export function colour(scale, share) {
  if (!Number.isFinite(share)) return UNKNOWN;
  const stops = SCALES[scale], place = Math.min(1, Math.max(0, share)) * (stops.length - 1), i = Math.min(stops.length - 2, Math.floor(place));
  const [r, g, b] = stops[i].map((low, k) => Math.round(low + (stops[i + 1][k] - low) * (place - i)));
  return `rgb(${r} ${g} ${b})`;
}
