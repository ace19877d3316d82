// A frame's picture with its overlays, their switches, and the read-out of what the pointer is at.
import { ask } from "/static/lib/api.js";
import { debounce, h, s } from "/static/lib/dom.js";
import { number, percent } from "/static/lib/format.js";
import { part, when } from "/static/lib/frames.js";
import { Lens, compass } from "/static/lib/lens.js";
import { Viewer } from "/static/lib/viewer.js";

const small = matchMedia("(max-width: 600px)").matches;  // names would cover the sky
const LAYERS = [
  ["cardinal_points", "Compass", true], ["star_names", "Star names", !small], ["constellation_lines", "Figures", true],
  ["constellation_names", "Constellations", false], ["constellation_boundaries", "Boundaries", false], ["planets", "Planets", true],
  ["sun_moon", "Sun & Moon", true], ["altaz_grid", "Alt/az grid", false], ["equatorial_grid", "RA/Dec grid", false],
  ["ecliptic", "Ecliptic", false], ["meridian", "Meridian", false], ["poles", "Poles", false], ["designations", "Bayer letters", false],
];
const OWN = [["stars", "Measured stars", false], ["transients", "Transients", true]];
// Laid out for a smaller picture than is shown, so that names are large enough to read.
const WIDTHS = [200, 280, 400, 560, 800, 1120, 1600, 2240, 3200, 4096], LARGER = 1.25;
const KEY = "layers";

function remembered() {
  try { const kept = JSON.parse(localStorage.getItem(KEY)); if (Array.isArray(kept)) return new Set(kept); } catch { /* none kept */ }
  return new Set([...LAYERS, ...OWN].filter(([, , on]) => on).map(([name]) => name));
}

export class Picture {
  constructor({ label, onpick }) {
    this.on = remembered();
    this.frame = this.view = this.lens = null;
    this.cells = null;
    this.viewer = new Viewer({ label, onpick, onpoint: (u, v) => this.point(u, v), onview: () => this.overlaySoon() });
    this.overlaySoon = debounce(() => this.overlay(), 120);
    this.askSoon = debounce((...at) => this.askPixel(...at), 110);
    this.switches = h("div", { class: "layer-switches", role: "group", "aria-label": "Shown over the picture" }, [...LAYERS, ...OWN].map(([name, text]) =>
      h("button", { type: "button", class: "chip", "data-layer": name, "aria-pressed": String(this.on.has(name)), onclick: (event) => this.toggle(name, event.currentTarget) }, text)));
    this.readout = h("p", { class: "readout", "aria-live": "off" });
    this.root = h("div", { class: "picture" }, this.switches, this.viewer.root, this.readout);
    this.idle();
  }

  idle() { this.readout.textContent = this.lens === null && this.view ? this.view.reason : "Point at the picture: direction, coordinates, sky brightness."; }

  // Shows a frame; overlays come when they are there. Resolves when the picture is shown.
  async show(frame) {
    this.frame = frame;
    const alt = `All-sky picture of ${when(frame)}`;
    const view = ask(part(frame, "/view", { revision: frame.revision })).catch(() => null);
    await this.viewer.show({ href: frame.links.picture, alt });
    this.drawn = null;
    view.then((found) => {
      if (frame !== this.frame) return;
      this.view = found;
      this.lens = found && found.lens ? new Lens(found.lens) : null;
      if (this.lens) this.viewer.setHome((this.lens.cx + 0.5) / found.width, (this.lens.cy + 0.5) / found.height, (2 * this.lens.radius(Math.PI / 2)) / found.height);
      this.idle();
      this.overlay();
    });
  }

  toggle(name, button) {
    if (this.on.has(name)) this.on.delete(name); else this.on.add(name);
    button.setAttribute("aria-pressed", String(this.on.has(name)));
    try { localStorage.setItem(KEY, JSON.stringify([...this.on])); } catch { /* not remembered */ }
    this.overlay();
  }

  async overlay() {
    const frame = this.frame;
    if (!frame) return;
    if (!this.lens) { this.viewer.layer("sky", null); this.viewer.layer("stars", null); this.viewer.layer("transients", null); this.drawn = null; return; }
    const wanted = LAYERS.map(([name]) => name).filter((name) => this.on.has(name));
    const size = this.viewer.fitted().width * this.viewer.zoom;
    const width = WIDTHS.findLast((w) => w <= size / LARGER) || WIDTHS[0];
    const key = `${frame.id} ${frame.revision} ${width} ${[...this.on].sort()}`;
    if (key === this.drawn) return;
    this.drawn = key;
    const current = () => key === this.drawn;
    if (!wanted.length) this.viewer.layer("sky", null);
    else this.svg(part(frame, "/overlay.svg", { layers: wanted.join(","), width, revision: frame.revision }), current);
    this.stars(frame, current);
    this.transients(frame, current);
  }

  async svg(href, current) {
    try {
      const reply = await fetch(href);
      if (!reply.ok) throw new Error(String(reply.status));
      const drawn = new DOMParser().parseFromString(await reply.text(), "image/svg+xml").documentElement;
      if (!current() || drawn.nodeName !== "svg") return;
      const [, , width, height] = drawn.getAttribute("viewBox").split(" ").map(Number);
      this.viewer.layer("sky", { width, height }, ...[...drawn.children].map((node) => document.importNode(node, true)));
    } catch {
      this.viewer.layer("sky", null);  // the picture is shown without; the banner says when the service is away
    }
  }

  async stars(frame, current) {
    if (!this.on.has("stars")) { this.viewer.layer("stars", null); return; }
    const found = await ask(part(frame, "/stars", { max_v: 5.5, revision: frame.revision })).catch(() => null);
    if (!found || !current()) return;
    const unit = found.width / 1000;
    this.viewer.layer("stars", { width: found.width, height: found.height }, s("g", { class: "thin", fill: "none", "stroke-width": 1.3 },
      found.stars.filter((star) => star.x !== null && star.flux !== null).map((star) => {
        const lost = star.loss_mag;
        const kind = lost === null ? "star-unknown" : lost < 0.3 ? "star-clear" : "star-dim";
        return s("circle", { class: kind, cx: star.x, cy: star.y, r: (5.5 - Math.min(5, star.v_mag) * 0.7) * unit });
      })));
  }

  async transients(frame, current) {
    if (!this.on.has("transients") || !(frame.measurements.transients > 0)) { this.viewer.layer("transients", null); return; }
    const found = await ask("/transients", { camera: frame.camera, start: frame.time, end: new Date(Date.parse(frame.time) + 1000).toISOString(), limit: 200 }).catch(() => null);
    if (!found || !current()) return;
    const { width, height } = this.view;
    this.viewer.layer("transients", { width, height }, s("g", { class: "thin", "stroke-width": 1.6 }, found.transients.filter((one) => one.frame === frame.id).map((one) => {
      const [a, b] = [one.start, one.end], room = width / 90;
      return s("g", { class: `transient ${one.kind}` },
        s("rect", { fill: "none", x: Math.min(a.x, b.x) - room, y: Math.min(a.y, b.y) - room, width: Math.abs(a.x - b.x) + 2 * room, height: Math.abs(a.y - b.y) + 2 * room }));
    })));
  }

  point(u, v) {
    if (u === null || !this.view || !this.lens || u < 0 || v < 0 || u > 1 || v > 1) { this.aim = null; this.idle(); return; }
    const x = u * this.view.width, y = v * this.view.height;
    const at = this.lens.unproject(x - 0.5, y - 0.5);
    this.aim = { x, y };
    if (!at) { this.readout.textContent = "Outside the lens's field."; return; }
    this.say(at, this.last && Math.hypot(this.last.x - x, this.last.y - y) < 1 ? this.last.info : null);
    this.askSoon(this.frame, x, y);
  }

  async askPixel(frame, x, y) {
    const info = await ask(part(frame, "/pixel", { x: x.toFixed(2), y: y.toFixed(2) })).catch(() => null);
    if (!info || frame !== this.frame || !this.aim || this.aim.x !== x || this.aim.y !== y) return;
    this.last = { x, y, info };
    const at = { altitude_deg: info.altitude_deg, azimuth_deg: info.azimuth_deg };
    if (at.altitude_deg !== null) this.say(at, info);
  }

  say(at, info) {
    const item = (name, text) => h("span", {}, `${name} `, h("b", { text }));
    const parts = [item("Alt", number(at.altitude_deg, 1, "°")), item("Az", `${number(at.azimuth_deg, 1, "°")} ${compass(at.azimuth_deg)}`)];
    if (info) {
      if (info.ra_deg !== null) parts.push(item("RA", hours(info.ra_deg)), item("Dec", degrees(info.dec_deg)));
      if (info.constellation) parts.push(item("in", info.constellation));
      if (info.sky_brightness_mag_arcsec2 !== null) parts.push(item("Sky", number(info.sky_brightness_mag_arcsec2, 2, " mag/arcsec²")));
      if (info.cloud_state) parts.push(item("Cloud", info.cloud_state === "unknown" ? "cannot be told" : `${info.cloud_state} (${percent(info.cloud_chance)})`));
    }
    this.readout.replaceChildren(...parts);
  }
}

export function hours(ra_deg) {
  const minutes = (((ra_deg % 360) + 360) % 360) * 4, whole = Math.floor(minutes * 10) / 10;
  return `${Math.floor(whole / 60)}h ${(whole % 60).toFixed(1).padStart(4, "0")}m`;
}

export function degrees(dec_deg) {
  const minutes = Math.round(Math.abs(dec_deg) * 60);
  return `${dec_deg < 0 ? "−" : "+"}${Math.floor(minutes / 60)}° ${String(minutes % 60).padStart(2, "0")}′`;
}

