// A picture to zoom and pan with mouse, touch and keys; what is drawn over it follows.
import { askImage } from "/static/lib/api.js";
import { h, icon, s } from "/static/lib/dom.js";

const MAX_ZOOM = 16, STEP = 1.4;
const WIDTHS = [480, 720, 960, 1280, 1600, 2048, 2560, 3200, 4096];

export class Viewer {
  // options: label; onpoint(u, v) with shares of the picture (null when the pointer left); onview() after every move.
  constructor({ label, onpoint = () => {}, onview = () => {}, onpick = () => {} }) {
    Object.assign(this, { onpoint, onview, onpick, zoom: 1, u: 0.5, v: 0.5, home: { u: 0.5, v: 0.5, share: 1 }, athome: true, aspect: 4 / 3, pointers: new Map(), frame: null, shownWidth: 0 });
    this.image = h("img", { alt: "", decoding: "async", draggable: "false" });
    this.layers = s("svg", { class: "viewer-layers", "aria-hidden": "true", preserveAspectRatio: "none" });
    this.stage = h("div", { class: "viewer-stage", tabindex: "0", role: "group", "aria-label": `${label}. Plus and minus zoom, arrow keys move, 0 fits.` },
      this.image, this.layers);
    const tool = (picture, name, work) => h("button", { type: "button", class: "viewer-tool", "aria-label": name, title: name, onclick: work }, icon(picture));
    this.tools = h("div", { class: "viewer-tools" },
      tool("plus", "Zoom in", () => this.zoomBy(STEP)), tool("minus", "Zoom out", () => this.zoomBy(1 / STEP)),
      tool("fit", "Fit", () => this.fit()), tool("full", "Full screen", () => this.fullScreen()));
    this.root = h("div", { class: "viewer" }, this.stage, this.tools);
    this.listen();
    new ResizeObserver(() => this.place()).observe(this.stage);
  }

  // picture: { address: base address, width given by &width= }; keeps the view. Resolves when it is shown.
  async show({ href, alt }) {
    this.frame = { href, alt };
    this.shownWidth = 0;
    await this.load(this.wantedWidth());
  }

  wantedWidth() {
    const wanted = this.fitted().width * this.zoom * Math.min(2, devicePixelRatio || 1);
    return WIDTHS.find((w) => w >= wanted * 0.9) || null;  // null: as stored
  }

  async load(width) {
    const frame = this.frame;
    const image = await askImage(width ? `${frame.href}${frame.href.includes("?") ? "&" : "?"}width=${width}` : frame.href);
    if (frame !== this.frame) return;
    this.shownWidth = width || Infinity;
    this.aspect = image.naturalWidth / image.naturalHeight;
    this.image.src = image.src;
    this.image.alt = frame.alt;
    this.place();
  }

  // Size of the picture on the page at zoom 1.
  fitted() {
    const w = this.stage.clientWidth || 640, high = this.stage.clientHeight || 480;
    const width = Math.min(w, high * this.aspect);
    return { width, height: width / this.aspect, w, high };
  }

  // Where the view rests: the disc of the sky, `share` of the picture's height across, fills the stage.
  setHome(u, v, share) { this.home = { u, v, share: Math.min(1, share) }; if (this.athome) this.fit(); }

  rest() {
    const { height, w, high } = this.fitted();
    return Math.max(1, Math.min(w, high) / (height * this.home.share * 1.14));
  }

  place() {
    const { width, height, w, high } = this.fitted(), rest = this.rest();
    if (this.athome) Object.assign(this, { zoom: rest, u: this.home.u, v: this.home.v });
    this.moved = this.zoom > rest * 1.01;
    const half = { u: Math.min(0.5, w / (2 * width * this.zoom)), v: Math.min(0.5, high / (2 * height * this.zoom)) };
    this.u = Math.min(1 - half.u, Math.max(half.u, this.u));
    this.v = Math.min(1 - half.v, Math.max(half.v, this.v));
    const left = w / 2 - this.u * width * this.zoom, top = high / 2 - this.v * height * this.zoom;
    Object.assign(this.image.style, { width: `${width}px`, height: `${height}px`, transform: `translate(${left}px, ${top}px) scale(${this.zoom})` });
    Object.assign(this.layers.style, { width: `${w}px`, height: `${high}px` });
    this.window = { u0: -left / (width * this.zoom), v0: -top / (height * this.zoom), du: w / (width * this.zoom), dv: high / (height * this.zoom) };
    this.placeLayers();
    this.stage.classList.toggle("zoomed", this.moved);
    this.sharpen();
    this.onview(this);
  }

  placeLayers() {
    const { u0, v0, du, dv } = this.window || { u0: 0, v0: 0, du: 1, dv: 1 };
    for (const layer of this.layers.children) {
      const { width, height } = layer.space;
      layer.setAttribute("viewBox", `${u0 * width} ${v0 * height} ${du * width} ${dv * height}`);
      layer.setAttribute("width", "100%");
      layer.setAttribute("height", "100%");
    }
  }

  // A closer look deserves more pixels.
  sharpen() {
    clearTimeout(this.later);
    if (!this.frame || !this.shownWidth) return;
    const wanted = this.wantedWidth() || Infinity;
    if (wanted > this.shownWidth) this.later = setTimeout(() => this.load(wanted === Infinity ? null : wanted).catch(() => {}), 250);
  }

  // Draws nodes over the picture in a space of width x height; replaces what had that name.
  layer(name, space, ...nodes) {
    this.layers.querySelector(`[data-layer="${name}"]`)?.remove();
    if (!space) return;
    const layer = s("svg", { "data-layer": name, preserveAspectRatio: "none", overflow: "hidden" }, ...nodes);
    layer.space = space;
    this.layers.append(layer);
    this.placeLayers();
  }

  at(clientX, clientY) {
    const box = this.stage.getBoundingClientRect(), { u0, v0, du, dv } = this.window;
    return [u0 + ((clientX - box.left) / box.width) * du, v0 + ((clientY - box.top) / box.height) * dv];
  }

  zoomBy(factor, clientX, clientY) {
    const box = this.stage.getBoundingClientRect();
    const x = clientX ?? box.left + box.width / 2, y = clientY ?? box.top + box.height / 2;
    const [u, v] = this.at(x, y), before = this.zoom;
    this.zoom = Math.min(MAX_ZOOM, Math.max(1, this.zoom * factor));
    this.athome = false;
    const share = before / this.zoom;
    this.u = u + (this.u - u) * share;
    this.v = v + (this.v - v) * share;
    this.place();
  }

  moveBy(dx, dy) {
    const { width, height } = this.fitted();
    this.u -= dx / (width * this.zoom);
    this.v -= dy / (height * this.zoom);
    this.place();
  }

  fit() { this.athome = true; this.place(); }

  lookAt(u, v, zoom) { Object.assign(this, { u, v, zoom, athome: false }); this.place(); }

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.root.requestFullscreen?.().catch(() => {});
  }

  listen() {
    const stage = this.stage;
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), event.clientX, event.clientY);
    }, { passive: false });
    stage.addEventListener("dblclick", (event) => (this.moved && event.shiftKey ? this.fit() : this.zoomBy(2, event.clientX, event.clientY)));
    stage.addEventListener("pointerdown", (event) => {
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
      this.travelled = 0;
      if (event.pointerType === "mouse" || this.moved) stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointermove", (event) => this.pointed(event));
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => {
      if (name === "pointerup" && this.pointers.size === 1 && this.travelled < 6) this.onpick(...this.at(event.clientX, event.clientY));
      this.pointers.delete(event.pointerId);
    });
    stage.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") this.onpoint(null); });
    stage.addEventListener("keydown", (event) => this.key(event));
  }

  pointed(event) {
    const before = this.pointers.get(event.pointerId), here = [event.clientX, event.clientY];
    if (before) {
      this.travelled += Math.hypot(here[0] - before[0], here[1] - before[1]);
      const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
      if (others.length) {
        const [other] = others, old = Math.hypot(before[0] - other[0], before[1] - other[1]);
        if (old > 0) this.zoomBy(Math.hypot(here[0] - other[0], here[1] - other[1]) / old, (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
        this.moveBy((here[0] - before[0]) / 2, (here[1] - before[1]) / 2);
      } else if (this.moved) this.moveBy(here[0] - before[0], here[1] - before[1]);
      this.pointers.set(event.pointerId, here);
    }
    this.onpoint(...this.at(...here));
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const arrows = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    if (event.key === "+" || event.key === "=") this.zoomBy(STEP);
    else if (event.key === "-") this.zoomBy(1 / STEP);
    else if (event.key === "0") this.fit();
    else if (event.key in arrows && this.moved) this.moveBy(...arrows[event.key]);
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.onpoint(this.u, this.v);
  }
}
