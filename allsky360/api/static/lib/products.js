// Products of a night: cards with their preview.
import { h } from "/static/lib/dom.js";
import { bytes, date, span } from "/static/lib/format.js";

export const fileOf = (product, role) => product.files.find((f) => f.role === role);
export const isVideo = (product) => Boolean(fileOf(product, "main")?.media_type.startsWith("video/"));

export function facts(product) {
  const main = fileOf(product, "main"), parts = [];
  if (product.frames && Number.isFinite(product.frames.used)) parts.push(`${product.frames.used} frames`);
  if (main && Number.isFinite(main.duration_s)) parts.push(span(main.duration_s));
  if (main && main.width) parts.push(`${main.width} × ${main.height}`);
  if (main) parts.push(bytes(main.bytes));
  if (!product.complete) parts.push("still growing");
  return parts;
}

export function productCard(product) {
  const main = fileOf(product, "main"), preview = fileOf(product, "preview") || (main && main.media_type.startsWith("image/") ? main : null);
  const href = isVideo(product) ? `/videos?night=${product.night}&name=${encodeURIComponent(product.name)}` : main && main.href;
  return h("a", { class: "card product", href }, preview ? h("img", { src: preview.href, alt: "", loading: "lazy" }) : h("span", { class: "product-none" }),
    h("b", { text: product.title }), h("span", { class: "small muted", text: [date(product.night), ...facts(product)].join(" · ") }));
}
