// Draws the sky sphere of a fisheye picture through its lens: WebGL 2 where there is one, else a plain canvas.
import { h } from "/static/lib/dom.js";
import { direction } from "/static/lib/look.js";

const KINDS = { window: 0, planet: 1, strip: 2 };
const VERTEX = `#version 300 es
in vec2 corner; out vec2 at; uniform float ratio;
void main() { at = vec2(corner.x, corner.y * ratio); gl_Position = vec4(corner, 0., 1.); }`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec2 at; out vec4 colour;
uniform sampler2D picture; uniform sampler2D radii;
uniform int kind; uniform vec2 look; uniform float field;
uniform vec2 centre, tilt, size; uniform float rotation, parity, maxTheta;
vec3 direction(vec2 p) {
  if (kind == 2) {
    float az = look.x + p.x * field / 2., alt = clamp(look.y + p.y * field / 2., -1.5707963, 1.5707963);
    return vec3(cos(alt) * sin(az), cos(alt) * cos(az), sin(alt));
  }
  float r = length(p), half_ = field / 2.;
  float theta = kind == 0 ? atan(r * tan(half_)) : 2. * atan(r * tan(half_ / 2.));
  vec2 side = r > 0. ? p / r * sin(theta) : vec2(0.);
  vec3 ahead = vec3(cos(look.y) * sin(look.x), cos(look.y) * cos(look.x), sin(look.y));
  vec3 east = vec3(cos(look.x), -sin(look.x), 0.);
  vec3 top = vec3(-sin(look.y) * sin(look.x), -sin(look.y) * cos(look.x), cos(look.y));
  return cos(theta) * ahead + side.x * east + side.y * top;
}
void main() {
  vec3 d = direction(at);
  float n2 = d.y * cos(tilt.x) - d.z * sin(tilt.x), z2 = d.y * sin(tilt.x) + d.z * cos(tilt.x);
  float e2 = d.x * cos(tilt.y) - z2 * sin(tilt.y), z3 = d.x * sin(tilt.y) + z2 * cos(tilt.y);
  float theta = atan(length(vec2(e2, n2)), z3);
  if (theta > maxTheta) { colour = vec4(0.02, 0.03, 0.05, 1.); return; }
  float steps = float(textureSize(radii, 0).x - 1), place = theta / maxTheta * steps;
  int i = int(min(floor(place), steps - 1.));
  float r = mix(texelFetch(radii, ivec2(i, 0), 0).r, texelFetch(radii, ivec2(i + 1, 0), 0).r, place - float(i)) * size.x;
  float phi = atan(e2, n2) + rotation;
  vec2 px = centre + vec2(parity * r * sin(phi), -r * cos(phi)) + .5;
  vec2 uv = px / size;
  if (uv.x < 0. || uv.y < 0. || uv.x > 1. || uv.y > 1.) { colour = vec4(0.02, 0.03, 0.05, 1.); return; }
  colour = texture(picture, uv);
}`;
const RAD = Math.PI / 180;

export class Sphere {
  constructor(label) {
    this.canvas = h("canvas", { class: "sphere", role: "img", "aria-label": label, width: 1200, height: 600 });
    this.gl = this.canvas.getContext("webgl2", { antialias: false, preserveDrawingBuffer: true });
    if (this.gl) this.prepare(); else this.flat = this.canvas.getContext("2d", { willReadFrequently: true });
    this.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    this.canvas.addEventListener("webglcontextrestored", () => { this.prepare(); if (this.image) this.setPicture(this.image, this.lens); this.draw(this.view); });
  }

  get how() { return this.gl ? "webgl" : "canvas"; }

  prepare() {
    const gl = this.gl, program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
    const corner = gl.getAttribLocation(program, "corner");
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
    this.at = (name) => gl.getUniformLocation(program, name);
    this.textures = [gl.createTexture(), gl.createTexture()];
  }

  // image: a loaded HTMLImageElement of the whole picture at any size; lens: of the full-size picture.
  setPicture(image, lens) {
    Object.assign(this, { image, lens });
    const gl = this.gl;
    if (!gl) {
      const small = document.createElement("canvas");
      Object.assign(small, { width: image.naturalWidth, height: image.naturalHeight });
      const context = small.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      this.pixels = context.getImageData(0, 0, small.width, small.height);
      return;
    }
    const set = (unit, fill, filter) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, this.textures[unit]);
      fill();
      for (const [key, value] of [["TEXTURE_MIN_FILTER", filter], ["TEXTURE_MAG_FILTER", filter === gl.NEAREST ? filter : gl.LINEAR], ["TEXTURE_WRAP_S", gl.CLAMP_TO_EDGE], ["TEXTURE_WRAP_T", gl.CLAMP_TO_EDGE]]) gl.texParameteri(gl.TEXTURE_2D, gl[key], value);
    };
    set(0, () => { gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image); gl.generateMipmap(gl.TEXTURE_2D); }, gl.LINEAR_MIPMAP_LINEAR);
    const table = lens.radiusTable();
    set(1, () => gl.texImage2D(gl.TEXTURE_2D, 0, gl.R32F, table.length, 1, 0, gl.RED, gl.FLOAT, table), gl.NEAREST);
    gl.uniform1i(this.at("picture"), 0);
    gl.uniform1i(this.at("radii"), 1);
    gl.uniform2f(this.at("centre"), lens.cx, lens.cy);
    gl.uniform2f(this.at("size"), lens.width, lens.height);
    gl.uniform2f(this.at("tilt"), lens.tilt_north_deg * RAD, lens.tilt_east_deg * RAD);
    gl.uniform1f(this.at("rotation"), lens.rotation_deg * RAD);
    gl.uniform1f(this.at("parity"), lens.parity);
    gl.uniform1f(this.at("maxTheta"), lens.maxTheta);
  }

  draw(view) {
    this.view = view;
    if (!this.image) return;
    const scale = this.gl ? Math.min(2, devicePixelRatio || 1) : 0.5;
    const width = Math.max(64, Math.round(this.canvas.clientWidth * scale)), height = Math.max(32, Math.round(this.canvas.clientHeight * scale));
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    if (this.gl) this.drawFast(view, width, height); else this.drawSlow(view, width, height);
  }

  drawFast(view, width, height) {
    const gl = this.gl;
    gl.viewport(0, 0, width, height);
    gl.uniform1f(this.at("ratio"), height / width);
    gl.uniform1i(this.at("kind"), KINDS[view.kind]);
    gl.uniform2f(this.at("look"), view.azimuth_deg * RAD, view.altitude_deg * RAD);
    gl.uniform1f(this.at("field"), view.field_deg * RAD);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  drawSlow(view, width, height) {
    const out = this.flat.createImageData(width, height), from = this.pixels, step = from.width / this.lens.width;
    const table = this.lens.radiusTable(), last = table.length - 1;
    const quick = Object.create(this.lens, { radius: { value: (theta) => table[Math.min(last, Math.round((theta / this.lens.maxTheta) * last))] * this.lens.width } });
    for (let row = 0; row < height; row += 1) {
      for (let column = 0; column < width; column += 1) {
        const d = direction(view, ((column + 0.5) / width) * 2 - 1, (height - 1 - 2 * row) / width);
        const at = quick.projectVector(d), to = (row * width + column) * 4;
        out.data[to + 3] = 255;
        if (!at) continue;
        const x = Math.floor((at[0] + 0.5) * step), y = Math.floor((at[1] + 0.5) * step);
        if (x < 0 || y < 0 || x >= from.width || y >= from.height) continue;
        const source = (y * from.width + x) * 4;
        for (let k = 0; k < 3; k += 1) out.data[to + k] = from.data[source + k];
      }
    }
    this.flat.putImageData(out, 0, 0);
  }
}
