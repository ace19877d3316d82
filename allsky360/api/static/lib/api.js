// The read service as this page uses it: one function to ask, the chosen camera, the shared status.
export const API = "/api/v1";

export class ApiError extends Error {
  constructor(message, address, status, type) {
    super(message);
    Object.assign(this, { address, status, type });
  }
}

const query = new URLSearchParams(location.search);
export const camera = {
  get chosen() { return query.get("camera") || sessionStorage.getItem("camera"); },
  choose(slug) {
    sessionStorage.setItem("camera", slug);
    const url = new URL(location.href);
    url.searchParams.delete("camera");
    location.href = url.href;
  },
};

export function address(path, parameters = {}) {
  const url = new URL(path.startsWith("/api/") ? path : API + path, location.origin);
  const all = { ...(camera.chosen && !url.searchParams.has("camera") ? { camera: camera.chosen } : {}), ...parameters };
  for (const [key, value] of Object.entries(all)) if (value !== null && value !== undefined && value !== "") url.searchParams.set(key, value);
  return url.pathname + url.search;
}

export async function ask(path, parameters = {}, options = {}) {
  const where = address(path, parameters);
  let reply;
  try {
    reply = await fetch(where, { headers: { accept: "application/json" }, ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The service does not answer.", where, 0, "unreachable");
  }
  const body = await reply.json().catch(() => null);
  if (!reply.ok) throw new ApiError((body && body.detail) || `${reply.status} ${reply.statusText}`, where, reply.status, body && body.type);
  if (body === null) throw new ApiError("The service's answer could not be read.", where, reply.status, "unreadable");
  return body;
}

// A picture, whole: ready to be drawn.
export async function askImage(where) {
  const image = new Image();
  image.src = where;
  try {
    await image.decode();
  } catch {
    throw new ApiError("The picture did not arrive.", where, 0, "unreachable");
  }
  return image;
}

// All pages of a list, up to `most` entries.
export async function askAll(path, parameters, name, most = 2000) {
  const found = [];
  let next = address(path, parameters);
  while (next && found.length < most) {
    const page = await ask(next);
    found.push(...page[name]);
    next = page.links.next;
  }
  return found;
}

// The status, shared by everything on the page; asked at most every two seconds.
let kept = null, keptAt = -Infinity;
export function status(maxAge_ms = 2000) {
  if (!kept || performance.now() - keptAt > maxAge_ms) {
    keptAt = performance.now();
    const mine = ask("/status").then((body) => {
      clock.set(body.now, body.clock_rate);
      return body;
    });
    mine.catch(() => { if (kept === mine) kept = null; });
    kept = mine;
  }
  return kept;
}

// The installation's clock, which in a rehearsal is not that of this device.
export const clock = {
  base: null, at: 0, rate: 1,
  set(now, rate) { this.base = Date.parse(now); this.at = performance.now(); this.rate = rate; },
  now() { return this.base === null ? Date.now() : this.base + (performance.now() - this.at) * this.rate; },
};
