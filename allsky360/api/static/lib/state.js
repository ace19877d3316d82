// Loading, empty and failed, said in words.
import { h, icon } from "/static/lib/dom.js";

export function message(kind, title, text, ...actions) {
  const role = kind === "error" ? "alert" : "status";
  return h("div", { class: "state", "data-kind": kind, role }, icon(kind === "error" ? "alert" : "live"),
    h("p", {}, h("strong", { text: title })), text ? h("p", { text }) : null, ...actions);
}

export const empty = (title, text, ...actions) => message("empty", title, text, ...actions);

// The same, small: within a card that has other things to say.
export const note = (title, text) => message("note", title, text);

export function failed(error, again) {
  if (error.status === 401) return message("error", "A token is needed", "Reload this page and give it as the password; whoever runs this camera makes one with: allsky360 api-token.");
  const title = error.status ? "The service could not answer" : "The service cannot be reached";
  const text = error.status ? error.message : "It may be restarting, or the network is away. This page tries again by itself.";
  return message("error", title, text, again ? h("button", { type: "button", class: "button", onclick: again }, "Try again") : null);
}

// Whether the same may go well a little later.
export const passes = (error) => !error.status || error.status === 429 || error.status >= 500;

// Shows `work`'s nodes in `target`; says what goes on meanwhile and what went wrong, and tries that again by itself,
// ever less often. Returns whether it worked.
const turns = new WeakMap();
export async function show(target, work, words = "Loading …", pause_ms = 2000) {
  const turn = (turns.get(target) || 0) + 1;
  turns.set(target, turn);
  const current = () => turns.get(target) === turn;
  const slow = setTimeout(() => { if (current() && !target.dataset.filled) target.replaceChildren(message("loading", words)); }, 150);
  target.setAttribute("aria-busy", "true");
  try {
    const nodes = await work();
    if (!current()) return false;
    target.replaceChildren(...[nodes].flat().filter(Boolean));
    target.dataset.filled = "yes";
    return true;
  } catch (error) {
    if (!error.address) console.warn(error);  // not an answer of the service: a mistake of this page
    if (current()) {
      delete target.dataset.filled;
      target.replaceChildren(failed(error, () => show(target, work, words)));
      const again = () => { if (current() && target.isConnected) show(target, work, words, Math.min(30000, 2 * pause_ms)); };
      if (error.address && passes(error)) setTimeout(again, pause_ms);
    }
    return false;
  } finally {
    clearTimeout(slow);
    if (current()) target.removeAttribute("aria-busy");
  }
}
