// Frames: their addresses, names, numbers and small pictures.
import { API, ask, askAll, address } from "/static/lib/api.js";
import { h } from "/static/lib/dom.js";
import { NONE, clock, date, day, exposure, minute, number, percent } from "/static/lib/format.js";

export const pageOf = (frame) => `/frames/${frame.id}`;
export const nightPage = (night) => `/nights/${night}`;
export const part = (frame, name, parameters = {}) => address(`${API}/frames/${frame.id}${name}`, { camera: frame.camera, ...parameters });
export const when = (frame) => `${day(frame.time)} ${clock(frame.time)} UTC`;
export const getFrame = (id) => ask(`/frames/${id}`);

// The dates of all nights, newest first.
export async function nightDates() {
  return (await askAll("/nights", { limit: 1000 }, "nights", 20000)).map((n) => n.night);
}

// What a film strip needs of each frame, and no more.
const STRIP = ["id", "camera", "night", "index", "time", "processed", "revision", "exposures_s", "links",
  ...["cloud_fraction", "sky_brightness_mag_arcsec2", "stars_found", "transients", "sun_altitude_deg"].map((name) => `measurements.${name}`)].join(",");
export const framesOf = (night, parameters = {}) => askAll(`/nights/${night}/frames`, { limit: 1000, fields: STRIP, ...parameters }, "frames", 10000);

// The newest processed frame, or null with the reason in words; never an answer that fails while nothing is there.
// Without a report it is taken for granted that there is one: news of a frame need not wait for the status.
export async function latest(report) {
  if (report && !report.last_picture) return { frame: null, reason: report.last_frame ? "The first frame is stored and waits for processing." : "The first picture appears here by itself." };
  return { frame: await ask("/latest"), reason: "" };
}

// What a person wants to know of a frame: [name, value, explanation].
export function frameFacts(frame) {
  const m = frame.measurements, sky = frame.sky || {};
  const rows = [
    ["UTC", `${day(frame.time)} ${clock(frame.time)}`],
    ["Solar time", frame.local_time ? frame.local_time.slice(11, 19) : NONE, "Local mean solar time: UTC + longitude / 15 h"],
    ["Night · frame", h("a", { href: nightPage(frame.night), text: `${frame.night} · ${frame.index}` })],
    [frame.exposures_s.length > 1 ? "Exposures" : "Exposure", frame.exposures_s.map(exposure).join(" + ")],
    ["Gain", number(frame.gain, 0)],
    ["Sun", number(sky.sun_altitude_deg, 1, "°"), "Altitude of the Sun"],
    ["Moon", `${number(sky.moon_altitude_deg, 1, "°")} · ${percent(sky.moon_illumination)} lit`, "Altitude of the Moon, lit share of its disc"],
  ];
  if (Number.isFinite(m.level)) rows.push(["Level", percent(m.level, 1), "Median of the longest exposure, as a share of saturation"]);
  if (Number.isFinite(m.temperature_c)) rows.push(["Sensor", number(m.temperature_c, 1, " °C")]);
  return rows;
}

export function skyFacts(frame) {
  const m = frame.measurements;
  const with_ = (name, digits, unit = "") => {
    const sigma = m[`${name}_sigma`];
    return Number.isFinite(sigma) ? `${number(m[name], digits)} ± ${number(sigma, digits)}${unit}` : number(m[name], digits, unit);
  };
  const share = (name) => (Number.isFinite(m[name]) ? `${percent(m[name])}${Number.isFinite(m[`${name}_sigma`]) ? ` ± ${number(m[`${name}_sigma`] * 100, 0)}` : ""}` : NONE);
  return [
    ["Cloud", share("cloud_fraction"), "Cloudy share of the sky that could be told"],
    ["Cannot be told", percent(m.sky_unknown), "Share of the sky that is neither surely clear nor surely cloudy"],
    ["Sky brightness", with_("sky_brightness_mag_arcsec2", 2, " mag/arcsec²"), "V, at the zenith"],
    ["Faintest star", number(m.limiting_mag, 1, " mag"), "V of a 5 sigma star at the zenith"],
    ["Stars", Number.isFinite(m.stars_matched) ? `${number(m.stars_found, 0)} found, ${number(m.stars_matched, 0)} matched` : number(m.stars_found, 0)],
    ["Star width", with_("fwhm_px", 1, " px"), "Full width at half maximum"],
    ["Extinction", with_("extinction_mag", 2, " mag"), "Per airmass, V"],
  ].filter(([, value]) => value !== NONE);
}

export function rawLinks(frame) {
  return h("p", { class: "small links" }, frame.links.raw.map((href, i, all) => h("a", { href, download: true },
    all.length > 1 ? `Raw FITS ${i + 1} (${exposure(frame.exposures_s[i])})` : "Raw FITS")),
  frame.links.picture ? h("a", { href: frame.links.picture, download: true }, "Picture") : null);
}

export function thumbnail(frame, { current = false, note = "" } = {}) {
  const about = hover(frame);
  return h("a", { class: "thumb", href: pageOf(frame), "aria-current": current ? "true" : null, title: about },
    frame.links.thumbnail ? h("img", { src: frame.links.thumbnail, alt: "", loading: "lazy", decoding: "async" }) : h("span", { class: "thumb-none", text: "not processed" }),
    h("span", { class: "thumb-time", text: `${minute(frame.time)}${note}` }), h("span", { class: "sr", text: ` UTC, frame ${frame.index}` }));
}

export function hover(frame) {
  const m = frame.measurements || {};
  const parts = [`${date(String(frame.night))}, frame ${frame.index}`, `${clock(frame.time)} UTC`, frame.exposures_s.map(exposure).join(" + ")];
  if (Number.isFinite(m.cloud_fraction)) parts.push(`cloud ${percent(m.cloud_fraction)}`);
  if (Number.isFinite(m.sky_brightness_mag_arcsec2)) parts.push(`${number(m.sky_brightness_mag_arcsec2, 2)} mag/arcsec²`);
  if (Number.isFinite(m.stars_found)) parts.push(`${number(m.stars_found, 0)} stars`);
  if (m.transients > 0) parts.push(`${number(m.transients, 0)} transients`);
  return parts.join("\n");
}
