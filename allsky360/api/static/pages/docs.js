// Renders openapi.json; everything it needs comes from this server.
import { ask } from "/static/lib/api.js";
import { page } from "/static/lib/shell.js";
import { show } from "/static/lib/state.js";

const root = document.createElement("div");

function node(name, text, ...children) {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
}

function resolve(schema, all) {
  return schema && schema.$ref ? all[schema.$ref.split("/").pop()] || {} : schema || {};
}

function kind(schema, all) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map((s) => kind(s, all)).join(" or ");
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.const) return String(schema.const);
  if (schema.type === "array") return `list of ${kind(schema.items, all)}`;
  let text = schema.format && schema.format !== "binary" ? schema.format : schema.type || "any";
  const low = schema.minimum ?? schema.exclusiveMinimum, high = schema.maximum ?? schema.exclusiveMaximum;
  if (low !== undefined || high !== undefined) text += ` ${low ?? ""} … ${high ?? ""}`;
  return text;
}

function table(heads, lines) {
  const body = node("tbody", "", ...lines.map((line) => node("tr", "", ...line.map((cell) => node("td", cell)))));
  return node("table", "", node("thead", "", node("tr", "", ...heads.map((h) => node("th", h)))), body);
}

function operation(path, method, what, all) {
  const details = node("details");
  details.append(node("summary", "", node("code", `${method.toUpperCase()} ${path}`), node("span", what.description || what.summary)));
  details.addEventListener("toggle", () => { if (details.open && details.children.length === 1) details.append(fields(path, what, all)); });
  return details;
}

function fields(path, what, all) {
  const body = node("div");
  body.className = "body";
  const parameters = what.parameters || [];
  if (parameters.length) {
    body.append(node("h3", "Parameters"), table(["Name", "In", "Type", "Default", "Meaning"], parameters.map((p) => [
      p.name + (p.required ? " *" : ""), p.in, kind(p.schema, all),
      p.schema.default === undefined || p.schema.default === null ? "" : String(p.schema.default),
      p.description || ""])));
  }
  body.append(node("h3", "Answers"));
  body.append(table(["Status", "Meaning", "Type"], Object.entries(what.responses).map(([status, answer]) => [
    status, answer.description, Object.entries(answer.content || {}).map(([type, c]) =>
      `${type}${c.schema && c.schema.$ref ? ` (${kind(c.schema, all)})` : ""}`).join(", ")])));
  const good = what.responses["200"], type = good && Object.keys(good.content || {})[0];
  if (type) {
    const content = good.content[type], model = resolve(content.schema, all);
    if (content.example) body.append(node("h3", "Example"), node("pre", content.example));
    if (model.properties) {
      body.append(node("h3", `Fields of ${content.schema.$ref.split("/").pop()}`));
      body.append(table(["Name", "Type", "Meaning"], Object.entries(model.properties).map(([name, s]) =>
        [name, kind(s, all), s.description || ""])));
    }
  }
  if (!path.includes("{") && type === "application/json") {
    const link = node("a", "Open");
    link.href = path;
    body.append(node("p", "", link));
  }
  return body;
}

async function load() {
  const document_ = await ask("/openapi.json");
  const all = document_.components.schemas, groups = new Map();
  for (const [path, methods] of Object.entries(document_.paths)) {
    for (const [method, what] of Object.entries(methods)) {
      const tag = (what.tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operation(path, method, what, all));
    }
  }
  return [node("p", document_.info.description.replace(/\s+/g, " ")), openapi(), ...[...groups].flatMap(([tag, list]) => [node("h2", tag), ...list])];
}

function openapi() {
  const link = node("a", "openapi.json");
  link.href = "/api/v1/openapi.json";
  return node("p", "The same for programs: ", link);
}

await page(async (main) => {
  main.append(root);
  await show(root, load, "Reading the description …");
});
