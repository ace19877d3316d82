// Ways to look at the sphere: where on the sky each point of the window is. Pure functions, used by the canvas
// renderer and by tests; lib/sphere.js says the same in a shader.
//
// A view is { kind: "window" | "planet" | "strip", azimuth_deg, altitude_deg, field_deg }. Window coordinates are
// x from -1 to 1 over the width, y upward, in units of half the width. Directions are [east, north, up].
const RAD = Math.PI / 180;

export function direction(view, x, y) {
  if (view.kind === "strip") return strip(view, x, y);
  const r = Math.hypot(x, y);
  const half = (view.field_deg / 2) * RAD;
  // window: gnomonic, the corners of a camera; planet: stereographic about the nadir seen from the zenith
  const theta = view.kind === "window" ? Math.atan(r * Math.tan(half)) : 2 * Math.atan(r * Math.tan(half / 2));
  const st = Math.sin(theta), c = Math.cos(theta);
  const right = r > 0 ? (x / r) * st : 0, up = r > 0 ? (y / r) * st : 0;
  const az = view.azimuth_deg * RAD, alt = view.altitude_deg * RAD;
  const ahead = [Math.cos(alt) * Math.sin(az), Math.cos(alt) * Math.cos(az), Math.sin(alt)];
  const east = [Math.cos(az), -Math.sin(az), 0];
  const top = [-Math.sin(alt) * Math.sin(az), -Math.sin(alt) * Math.cos(az), Math.cos(alt)];
  return [0, 1, 2].map((i) => c * ahead[i] + right * east[i] + up * top[i]);
}

// The whole horizon unrolled: azimuth along x, altitude along y from the horizon (y = -ratio) to the zenith.
function strip(view, x, y) {
  const az = (view.azimuth_deg + (x * view.field_deg) / 2) * RAD;
  const alt = Math.max(-90, Math.min(90, view.altitude_deg + (y * view.field_deg) / 2)) * RAD;
  return [Math.cos(alt) * Math.sin(az), Math.cos(alt) * Math.cos(az), Math.sin(alt)];
}

// Where a direction falls in the window: [x, y], or null behind it.
export function place(view, [e, n, z]) {
  const az = view.azimuth_deg * RAD, alt = view.altitude_deg * RAD;
  if (view.kind === "strip") {
    let da = Math.atan2(e, n) / RAD - view.azimuth_deg;
    da = ((((da + 180) % 360) + 360) % 360) - 180;
    return [da / (view.field_deg / 2), (Math.asin(Math.max(-1, Math.min(1, z))) / RAD - view.altitude_deg) / (view.field_deg / 2)];
  }
  const ahead = e * Math.cos(alt) * Math.sin(az) + n * Math.cos(alt) * Math.cos(az) + z * Math.sin(alt);
  const right = e * Math.cos(az) - n * Math.sin(az);
  const up = -e * Math.sin(alt) * Math.sin(az) - n * Math.sin(alt) * Math.cos(az) + z * Math.cos(alt);
  const theta = Math.acos(Math.max(-1, Math.min(1, ahead))), side = Math.hypot(right, up);
  const half = (view.field_deg / 2) * RAD;
  if (view.kind === "window" && theta > 88 * RAD) return null;
  const r = view.kind === "window" ? Math.tan(theta) / Math.tan(half) : Math.tan(theta / 2) / Math.tan(half / 2);
  return side > 0 ? [(right / side) * r, (up / side) * r] : [0, 0];
}
