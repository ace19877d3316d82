// The Moon's disc as it looks: lit share and which side. Northern view, mirrored in the south.
import { s } from "/static/lib/dom.js";

const NAMES = ["New Moon", "Waxing crescent", "First quarter", "Waxing gibbous", "Full Moon", "Waning gibbous", "Last quarter", "Waning crescent"];
// phase_deg: elongation of the Moon in ecliptic longitude, 0 new, 180 full
export const phaseName = (phase_deg) => NAMES[Math.floor((((phase_deg % 360) + 360 + 22.5) % 360) / 45) % 8];

export function moonPath(phase_deg, radius) {
  const k = Math.cos((phase_deg * Math.PI) / 180), waxing = phase_deg % 360 < 180;
  // outer limb on the lit side (right while waxing), then the terminator, an ellipse of half-width |k|
  const outer = waxing ? 1 : 0, inner = (k > 0) === waxing ? 0 : 1;
  return `M0 ${-radius}A${radius} ${radius} 0 0 ${outer} 0 ${radius}A${Math.abs(k) * radius} ${radius} 0 0 ${inner} 0 ${-radius}Z`;
}

export function moonDisc(phase_deg, latitude_deg, size = 64) {
  return s("svg", { class: "moon", viewBox: "-34 -34 68 68", width: size, height: size, role: "img", "aria-label": phaseName(phase_deg) },
    s("circle", { r: 31, class: "moon-dark" }), s("path", { class: "moon-lit", d: moonPath(phase_deg, 31), transform: latitude_deg < 0 ? "scale(-1 1)" : null }));
}
