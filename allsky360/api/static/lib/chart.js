// A chart over time: several series with axes of their own, shading, zoom and pan, a cursor that reads values.
import { h, s } from "/static/lib/dom.js";
import { clock, day } from "/static/lib/format.js";
import { extent, short, ticks, timeLabel, timeTicks } from "/static/lib/scales.js";

const DASHES = [null, "7 4", "2 3", "10 3 2 3", "5 5", "1 4"];
const tone = (one, i) => one.tone || `s${(i % 6) + 1}`;
const TOP = 10, BOTTOM = 26, AXIS = 52;

// series: { name, label, unit, log, zero, values[], format }. Data: { time: ms[], series[], bands[], moon[], from, to, here }.
// options: height, onrange(from, to) after a move by hand, onpick(i), label.
export class Chart {
  constructor({ label, height = 300, onrange = null, onpick = null }) {
    Object.assign(this, { label, height, onrange, onpick, data: null, cursor: null });
    this.svg = s("svg", { class: "chart-plot", role: "img", "aria-label": label });
    this.box = h("div", { class: "chart-box", tabindex: "0", role: "group", "aria-label": `${label}. Arrow keys read values${onrange ? ", plus and minus zoom" : ""}.` }, this.svg);
    this.read = h("p", { class: "chart-read", "aria-live": "polite" });
    this.legend = h("ul", { class: "chart-legend" });
    this.root = h("div", { class: "chart" }, this.legend, this.box, this.read);
    this.listen();
    new ResizeObserver(() => { if (this.data && this.box.clientWidth !== this.width) this.draw(); }).observe(this.box);
  }

  set(data) {
    this.data = { bands: [], moon: [], here: null, ...data };
    this.cursor = null;
    const gaps = this.data.time.slice(1).map((t, i) => t - this.data.time[i]).sort((a, b) => a - b);
    this.gap = Math.max(180e3, 4 * (gaps[Math.floor(gaps.length * 0.5)] || 0));
    this.draw();
  }

  x(t) { return this.left + ((t - this.data.from) / (this.data.to - this.data.from)) * (this.right - this.left); }

  t(x) { return this.data.from + ((x - this.left) / (this.right - this.left)) * (this.data.to - this.data.from); }

  draw() {
    const { series, from, to } = this.data;
    this.width = Math.max(260, this.box.clientWidth || 600);
    const axes = this.axes(series), lefts = axes.filter((_, i) => i % 2 === 0).length, rights = axes.length - lefts;
    const narrow = this.width < 500;  // room for one axis a side; the others are read by the cursor
    this.left = narrow ? 46 : Math.max(1, lefts) * AXIS;
    this.right = this.width - (rights ? (narrow ? 46 : rights * AXIS) : 12);
    this.bottom = this.height - BOTTOM;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.svg.setAttribute("height", this.height);
    this.svg.replaceChildren(...this.shading(), ...this.timeAxis(from, to, narrow ? 5 : 9),
      ...axes.flatMap((axis, i) => this.axis(axis, i, narrow)), ...axes.flatMap((axis) => axis.series.map((one) => this.line(one, axis))));
    if (Number.isFinite(this.data.here)) this.svg.append(s("line", { class: "chart-here", x1: this.x(this.data.here), x2: this.x(this.data.here), y1: TOP, y2: this.bottom }));
    this.mark = s("g", { class: "chart-cursor" });
    this.svg.append(this.mark);
    this.legend.replaceChildren(...series.map((one, i) => h("li", { class: tone(one, i) },
      s("svg", { viewBox: "0 0 26 8", width: 26, height: 8, "aria-hidden": "true" }, s("line", { x1: 0, x2: 26, y1: 4, y2: 4, class: "chart-line", "stroke-dasharray": DASHES[i % 6] })),
      `${one.label}${one.unit ? `, ${one.unit}` : ""}`)));
    this.say();
  }

  // Series with the same unit share an axis.
  axes(series) {
    const found = [];
    series.forEach((one, i) => {
      const colour = tone(one, i), dash = DASHES[i % 6];
      const same = one.unit && found.find((a) => a.unit === one.unit && Boolean(a.log) === Boolean(one.log));
      const entry = { ...one, colour, dash };
      if (same) same.series.push(entry);
      else found.push({ unit: one.unit, log: one.log, zero: one.zero, format: one.format, colour, series: [entry] });
    });
    for (const axis of found) {
      const inside = axis.series.flatMap((one) => one.values.filter((_, i) => this.data.time[i] >= this.data.from && this.data.time[i] <= this.data.to));
      axis.range = extent(inside, axis) || (axis.log ? [-1, 1] : [0, 1]);
      const [low, high] = axis.range;
      axis.y = (value) => this.bottom - (((axis.log ? Math.log10(value) : value) - low) / (high - low)) * (this.bottom - TOP);
    }
    return found;
  }

  axis(axis, i, narrow) {
    if (narrow && i > 1) return [];
    const onLeft = i % 2 === 0, level = narrow ? 0 : Math.floor(i / 2);
    const x = onLeft ? this.left - level * AXIS : this.right + level * AXIS;
    const [low, high] = axis.range;
    const count = Math.max(2, Math.floor((this.bottom - TOP) / 46));
    const values = axis.log ? ticks(Math.floor(low), Math.ceil(high), count).filter((v) => Number.isInteger(v)).map((v) => 10 ** v) : ticks(low, high, count);
    const nodes = [];
    for (const value of values) {
      const y = axis.y(value);
      if (y < TOP - 1 || y > this.bottom + 1) continue;
      if (i === 0) nodes.push(s("line", { class: value === 0 && low < 0 ? "chart-zero" : "chart-grid", x1: this.left, x2: this.right, y1: y, y2: y }));
      nodes.push(s("text", { class: `chart-tick ${axis.colour}`, x: onLeft ? x - 7 : x + 7, y: y + 4, "text-anchor": onLeft ? "end" : "start" },
        axis.format ? axis.format(value) : short(value)));
    }
    return nodes;
  }

  shading() {
    const box = (from, to, name, title) => {
      const a = Math.max(this.left, this.x(from)), b = Math.min(this.right, this.x(to));
      return b > a ? s("rect", { class: name, x: a, width: b - a, y: TOP, height: this.bottom - TOP }, s("title", {}, title)) : null;
    };
    const bands = this.data.bands.map((b) => box(Date.parse(b.begins), Date.parse(b.ends), `band band-${b.phase.replaceAll(" ", "-")}`, b.phase));
    const moon = this.data.moon.map((m) => {
      const a = Math.max(this.left, this.x(m.from)), b = Math.min(this.right, this.x(m.to));
      return b > a ? s("rect", { class: "band-moon", x: a, width: b - a, y: this.bottom - 5, height: 5, "fill-opacity": 0.35 + 0.65 * m.light }, s("title", {}, `Moon up, ${Math.round(m.light * 100)} % lit`)) : null;
    });
    return [...bands, ...moon].filter(Boolean);
  }

  timeAxis(from, to, count) {
    const { step, ticks: at } = timeTicks(from, to, count);
    return at.flatMap((t) => [
      s("line", { class: "chart-grid", x1: this.x(t), x2: this.x(t), y1: TOP, y2: this.bottom }),
      s("text", { class: "chart-tick", x: Math.min(this.width - 20, this.x(t)), y: this.height - 8, "text-anchor": "middle" }, timeLabel(t, step)),
    ]);
  }

  line(one, axis) {
    const parts = [], { time } = this.data;
    let last = null;
    one.values.forEach((value, i) => {
      if (!Number.isFinite(value) || (axis.log && value <= 0)) { last = null; return; }
      const joined = last !== null && time[i] - last < this.gap;
      parts.push(`${joined ? "L" : "M"}${this.x(time[i]).toFixed(1)} ${axis.y(value).toFixed(1)}${joined ? "" : "h.01"}`);
      last = time[i];
    });
    const sparse = one.values.length < 40;
    return s("g", { class: one.colour, "clip-path": "inset(0)" }, s("path", { class: "chart-line", d: parts.join(""), "stroke-dasharray": one.dash }),
      sparse ? one.values.map((value, i) => (Number.isFinite(value) && !(axis.log && value <= 0) && time[i] >= this.data.from && time[i] <= this.data.to
        ? s("circle", { class: "chart-dot", cx: this.x(time[i]), cy: axis.y(value), r: 2.4 }) : null)) : null);
  }

  nearest(t) {
    const { time } = this.data;
    if (!time.length) return null;
    let low = 0, high = time.length - 1;
    while (high - low > 1) { const mid = (low + high) >> 1; if (time[mid] < t) low = mid; else high = mid; }
    return Math.abs(time[low] - t) <= Math.abs(time[high] - t) ? low : high;
  }

  point(i) {
    this.cursor = i;
    this.mark.replaceChildren();
    if (i !== null) {
      const x = this.x(this.data.time[i]);
      if (x >= this.left - 1 && x <= this.right + 1) this.mark.append(s("line", { x1: x, x2: x, y1: TOP, y2: this.bottom }));
    }
    this.say();
  }

  say() {
    const { series, time } = this.data, i = this.cursor;
    if (i === null) { this.read.textContent = time.length ? "Point at the chart to read its values." : "No values in this range."; return; }
    this.read.replaceChildren(h("b", { text: `${day(time[i])} ${clock(time[i])} UTC` }), ...series.map((one, k) =>
      h("span", { class: tone(one, k) }, ` ${one.label} ${Number.isFinite(one.values[i]) ? `${one.format ? one.format(one.values[i]) : short(one.values[i])}${one.format ? "" : ` ${one.unit || ""}`}` : "–"}`)));
  }

  zoomBy(factor, t = (this.data.from + this.data.to) / 2) {
    const { from, to } = this.data;
    this.move(t - (t - from) * factor, t + (to - t) * factor);
  }

  move(from, to) {
    if (!this.onrange || to - from < 120e3) return;
    Object.assign(this.data, { from, to });
    this.draw();
    this.onrange(from, to);
  }

  listen() {
    const box = this.box, pointers = new Map();
    const px = (event) => ((event.clientX - box.getBoundingClientRect().left) / box.clientWidth) * this.width;
    box.addEventListener("pointermove", (event) => {
      if (!this.data) return;
      const before = pointers.get(event.pointerId), here = px(event);
      if (before !== undefined && this.onrange) {
        const others = [...pointers].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
        if (others.length) this.zoomBy(Math.abs(before - others[0]) / Math.max(4, Math.abs(here - others[0])), this.t((here + others[0]) / 2));
        else { const shift = this.t(before) - this.t(here); this.move(this.data.from + shift, this.data.to + shift); }
        pointers.set(event.pointerId, here);
      } else this.point(this.nearest(this.t(here)));
    });
    box.addEventListener("pointerdown", (event) => { pointers.set(event.pointerId, px(event)); this.pressed = px(event); });
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) box.addEventListener(name, (event) => {
      if (name === "pointerup" && this.data && this.onpick && Math.abs(px(event) - this.pressed) < 4) {
        const i = this.nearest(this.t(px(event)));
        if (i !== null) this.onpick(i);
      }
      pointers.delete(event.pointerId);
    });
    box.addEventListener("wheel", (event) => {
      if (!this.onrange || !this.data) return;
      event.preventDefault();
      this.zoomBy(Math.exp(event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), this.t(px(event)));
    }, { passive: false });
    box.addEventListener("keydown", (event) => {
      if (!this.data || !this.data.time.length) return;
      const last = this.data.time.length - 1, i = this.cursor ?? this.nearest(this.data.here ?? this.data.to);
      const steps = { ArrowLeft: i - 1, ArrowRight: i + 1, Home: 0, End: last, PageUp: i - 10, PageDown: i + 10 };
      if (event.key in steps) this.point(Math.min(last, Math.max(0, steps[event.key])));
      else if (event.key === "+" || event.key === "=") this.zoomBy(1 / 1.5);
      else if (event.key === "-") this.zoomBy(1.5);
      else if (event.key === "Enter" && this.onpick) this.onpick(i);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }
}
