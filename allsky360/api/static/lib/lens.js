// The lens model of allsky360.sky.lens in the browser: pixel to direction and back. Pixels are those of the picture.
const RAD = Math.PI / 180, TABLE = 1024;
const BASE = {
  equidistant: (t) => t, equisolid: (t) => 2 * Math.sin(t / 2),
  stereographic: (t) => 2 * Math.tan(t / 2), orthographic: Math.sin,
};

export class Lens {
  constructor(model) {
    Object.assign(this, model);
    this.maxTheta = model.max_theta_deg * RAD;
    this.maxRadius = this.radius(this.maxTheta);
  }

  radius(theta) {
    const t2 = theta * theta;
    return this.focal_px * (BASE[this.projection](theta) + theta * t2 * (this.k3 + t2 * (this.k5 + t2 * this.k7)));
  }

  // Bisection: the radius grows with theta (the service refuses a lens where it does not).
  theta(radius) {
    if (!(radius <= this.maxRadius * (1 + 1e-9))) return NaN;
    let low = 0, high = this.maxTheta;
    for (let i = 0; i < 48; i += 1) {
      const middle = (low + high) / 2;
      if (this.radius(middle) < radius) low = middle; else high = middle;
    }
    return (low + high) / 2;
  }

  // East, north, up unit vector to pixel [x, y]; null beyond the field.
  projectVector([e, n, z]) {
    const ct = Math.cos(this.tilt_north_deg * RAD), st = Math.sin(this.tilt_north_deg * RAD);
    const n2 = n * ct - z * st, z2 = n * st + z * ct;
    const ce = Math.cos(this.tilt_east_deg * RAD), se = Math.sin(this.tilt_east_deg * RAD);
    const e2 = e * ce - z2 * se, z3 = e * se + z2 * ce;
    const theta = Math.atan2(Math.hypot(e2, n2), z3);
    if (theta > this.maxTheta) return null;
    const r = this.radius(theta), phi = Math.atan2(e2, n2) + this.rotation_deg * RAD;
    return [this.cx + this.parity * r * Math.sin(phi), this.cy - r * Math.cos(phi)];
  }

  project(altitude_deg, azimuth_deg) { return this.projectVector(vector(altitude_deg, azimuth_deg)); }

  // Pixel to { altitude_deg, azimuth_deg }; null beyond the field.
  unproject(x, y) {
    const dx = (x - this.cx) * this.parity, dy = this.cy - y;
    const theta = this.theta(Math.hypot(dx, dy));
    if (!Number.isFinite(theta)) return null;
    const phi = Math.atan2(dx, dy) - this.rotation_deg * RAD;
    const e2 = Math.sin(theta) * Math.sin(phi), n2 = Math.sin(theta) * Math.cos(phi), z3 = Math.cos(theta);
    const ce = Math.cos(this.tilt_east_deg * RAD), se = Math.sin(this.tilt_east_deg * RAD);
    const e = e2 * ce + z3 * se, z2 = -e2 * se + z3 * ce;
    const ct = Math.cos(this.tilt_north_deg * RAD), st = Math.sin(this.tilt_north_deg * RAD);
    const n = n2 * ct + z2 * st, z = -n2 * st + z2 * ct;
    return { altitude_deg: Math.atan2(z, Math.hypot(e, n)) / RAD, azimuth_deg: (Math.atan2(e, n) / RAD + 360) % 360 };
  }

  // Radii at equal steps of theta, as shares of the picture's width: what the panorama's shader looks up.
  radiusTable(count = TABLE) {
    return Float32Array.from({ length: count }, (_, i) => this.radius((i / (count - 1)) * this.maxTheta) / this.width);
  }
}

export function vector(altitude_deg, azimuth_deg) {
  const c = Math.cos(altitude_deg * RAD);
  return [c * Math.sin(azimuth_deg * RAD), c * Math.cos(azimuth_deg * RAD), Math.sin(altitude_deg * RAD)];
}

const POINTS = ["N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE", "S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW"];
export const compass = (azimuth_deg) => POINTS[Math.round((((azimuth_deg % 360) + 360) % 360) / 22.5) % 16];
