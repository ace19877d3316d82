// Time-lapses and star-trail videos: a player that can seek, and what there is.
import { askAll } from "/static/lib/api.js";
import { h } from "/static/lib/dom.js";
import { onNews } from "/static/lib/events.js";
import { date } from "/static/lib/format.js";
import { nightPage } from "/static/lib/frames.js";
import { facts, fileOf, isVideo } from "/static/lib/products.js";
import { page } from "/static/lib/shell.js";
import { empty, failed, show } from "/static/lib/state.js";

const video = h("video", { controls: true, preload: "metadata", playsinline: true, loop: false });
const about = h("p", { class: "small muted", id: "about" }), trouble = h("div", {});
const speeds = [0.25, 0.5, 1, 2, 4].map((rate) => h("button", { type: "button", class: "chip", "aria-pressed": String(rate === 1), onclick: () => speed(rate) }, `${rate}×`));
const title = h("h2", { class: "video-title" });
const player = h("section", { class: "card player", hidden: true, "aria-label": "Player" }, title, video, trouble,
  h("div", { class: "toolbar" }, h("div", { class: "chips", role: "group", "aria-label": "Speed" }, speeds),
    h("button", { type: "button", class: "chip", onclick: () => nudge(-1) }, "‹ One picture back"), h("button", { type: "button", class: "chip", onclick: () => nudge(1) }, "One picture on ›"),
    h("a", { class: "chip push", id: "download" }, "Download")), about);
const list = h("section", { "aria-label": "Videos" });
let products = [], shown = null;

function speed(rate) {
  video.playbackRate = rate;
  speeds.forEach((b) => b.setAttribute("aria-pressed", String(b.textContent === `${rate}×`)));
}

function nudge(pictures) {
  video.pause();
  const fps = Number(shown && shown.parameters && (shown.parameters.fps || shown.parameters.frames_per_second)) || 25;
  video.currentTime = Math.max(0, Math.min(video.duration || 0, video.currentTime + pictures / fps));
}

function play(product, start = false) {
  const main = fileOf(product, "main"), preview = fileOf(product, "preview");
  shown = product;
  player.hidden = false;
  trouble.replaceChildren();
  title.textContent = `${product.title}, night of ${date(product.night)}`;
  video.setAttribute("aria-label", title.textContent);
  if (preview && preview.media_type.startsWith("image/")) video.poster = preview.href; else video.removeAttribute("poster");
  video.src = main.href;
  about.replaceChildren(facts(product).join(" · "), " · ", h("a", { href: nightPage(product.night), text: "the night" }));
  const download = player.querySelector("#download");
  download.href = main.href;
  download.setAttribute("download", `${product.night}-${product.name}.${main.path.split(".").pop()}`);
  history.replaceState(null, "", `?night=${product.night}&name=${encodeURIComponent(product.name)}`);
  list.querySelectorAll("[data-key]").forEach((b) => b.setAttribute("aria-pressed", String(b.dataset.key === key(product))));
  if (start) { video.play().catch(() => {}); player.scrollIntoView({ block: "start" }); }
}

const key = (p) => `${p.night} ${p.name}`;

function tile(product) {
  const preview = fileOf(product, "preview");
  return h("button", { type: "button", class: "card tile", "data-key": key(product), "aria-pressed": "false", onclick: () => play(product, true) },
    preview ? h("img", { src: preview.href, alt: "", loading: "lazy" }) : h("span", { class: "tile-none" }),
    h("b", { text: product.title }), h("span", { class: "small muted", text: [date(product.night), ...facts(product)].join(" · ") }));
}

async function load() {
  products = (await askAll("/products", { limit: 60 }, "products", 1000)).filter(isVideo);
  if (!products.length) return empty("No videos yet", "Time-lapses and star-trail videos are made after each night.", h("a", { class: "button", href: "/nights", text: "See the nights" }));
  const query = new URLSearchParams(location.search);
  const wanted = products.find((p) => p.night === query.get("night") && p.name === query.get("name")) || (query.get("night") ? products.find((p) => p.night === query.get("night")) : null);
  if (!shown) queueMicrotask(() => play(wanted || products[0]));
  return h("div", { class: "grid" }, products.map(tile));
}

await page(async (main) => {
  main.append(h("div", { class: "stack" }, player, list));
  video.addEventListener("error", () => trouble.replaceChildren(failed({ status: 1, message: "This video cannot be played. It may have been replaced by a newer one: reload the page." })));
  await show(list, load, "Looking for videos …");
  onNews(["product", "reset"], () => show(list, load), 2000);
});
