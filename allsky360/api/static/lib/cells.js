// Sky cells in rings of altitude, from their centres alone, as paths on a disc. Pure functions.
// The disc: zenith in the middle, radius 1 at the horizon, north up, east left (as seen looking up).
const RAD = Math.PI / 180;

export function onDisc(altitude_deg, azimuth_deg) {
  const r = (90 - altitude_deg) / 90, a = azimuth_deg * RAD;
  return [-r * Math.sin(a), -r * Math.cos(a)];
}

// cells: { altitude_deg[], azimuth_deg[] } -> one { path, low_deg, high_deg } a cell, in the same order.
export function cellShapes({ altitude_deg, azimuth_deg }) {
  const rings = [...new Set(altitude_deg)].sort((a, b) => a - b);
  const half = rings.length > 1 ? (rings[1] - rings[0]) / 2 : 5;
  const count = new Map(rings.map((r) => [r, altitude_deg.filter((a) => a === r).length]));
  return altitude_deg.map((alt, i) => {
    const width = 360 / count.get(alt), low = alt - half, high = Math.min(90, alt + half);
    const from = azimuth_deg[i] - width / 2, to = azimuth_deg[i] + width / 2, steps = Math.max(2, Math.ceil(width / 6));
    const edge = (level, a, b) => Array.from({ length: steps + 1 }, (_, k) => onDisc(level, a + ((b - a) * k) / steps));
    const points = [...edge(low, from, to), ...edge(high, to, from)];
    return { low_deg: low, high_deg: high, path: `M${points.map((p) => p.map((c) => c.toFixed(4)).join(" ")).join("L")}Z` };
  });
}
