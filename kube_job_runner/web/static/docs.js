// Renders /openapi.json: operations with parameters, bodies and answers, and a form to try each. Text nodes only: nothing
// of the document or of an answer is ever put in as HTML.
"use strict";

const make = (tag, props = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
};

let spec = null;

// Follow a reference inside the document.
const resolve = (node) => node && node.$ref && !node.$ref.includes("/schemas/")
  ? node.$ref.slice(2).split("/").reduce((at, part) => at[part], spec) : node;

const pretty = (value) => JSON.stringify(value, null, 2);

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.map((item) => JSON.stringify(item)).join(" or ");
  if (schema.type === "array") return "array of " + (typeOf(schema.items) || "anything");
  const limits = ["minimum", "maximum", "minLength", "maxLength", "maxItems", "maxProperties", "format", "pattern"]
    .filter((name) => schema[name] !== undefined)
    .map((name) => name + " " + schema[name]);
  return [schema.type || "anything", ...limits].join(", ");
}

function table(head, rows) {
  const line = (cells, tag) => make("tr", {}, ...cells.map((cell) => make(tag, {}, cell)));
  return make("table", {}, make("thead", {}, line(head, "th")), make("tbody", {}, ...rows.map((row) => line(row, "td"))));
}

function parameterTable(parameters) {
  const rows = parameters.map((p) => [make("code", {}, p.name), p.in, typeOf(p.schema), p.description || ""]);
  return table(["parameter", "in", "type", "meaning"], rows);
}

function bodyOf(content) {
  return Object.entries(content || {}).map(([media, { schema, example, examples }]) => make("div", {},
    make("p", {}, make("code", {}, media), " ", typeOf(schema)),
    example === undefined ? null : make("pre", {}, typeof example === "string" ? example : pretty(example)),
    ...Object.entries(examples || {}).map(([name, found]) =>
      make("details", {}, make("summary", {}, name), make("pre", {}, pretty(resolve(found).value))))));
}

function answers(responses) {
  return Object.entries(responses).map(([status, response]) => make("details", {},
    make("summary", {}, make("code", {}, status), " ", response.description),
    ...Object.entries(response.headers || {}).map(([name, header]) =>
      make("p", {}, make("code", {}, name), " ", header.description || "")),
    ...bodyOf(response.content)));
}

function tryForm(method, path, operation) {
  const inputs = (operation.parameters || []).map((p) => [p, make("input", { name: p.name, placeholder: p.in })]);
  const media = operation.requestBody?.content["application/json"];
  const body = media ? make("textarea", { rows: 8, value: pretty(media.example || {}) }) : null;
  const output = make("pre", { hidden: true });
  const run = async (event) => {
    event.preventDefault();
    output.hidden = false;
    output.textContent = "...";
    try {
      output.textContent = await call(method, path, inputs, body);
    } catch (error) {
      output.textContent = String(error);
    }
  };
  return make("form", { onsubmit: run },
    ...inputs.map(([p, input]) => make("p", {}, make("label", {}, make("code", {}, p.name), " ", input))),
    body, make("button", { type: "submit" }, "Try it"), output);
}

async function call(method, path, inputs, body) {
  const headers = {};
  const query = new URLSearchParams();
  let target = path;
  for (const [parameter, { value }] of inputs) {
    if (!value) continue;
    if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (parameter.in === "query") query.append(parameter.name, value);
    else headers[parameter.name] = value;
  }
  const token = document.getElementById("token").value.trim();
  if (token) headers.Authorization = "Bearer " + token;
  if (body) headers["Content-Type"] = "application/json";
  const search = query.toString();
  const response = await fetch(target + (search ? "?" + search : ""),
    { method: method.toUpperCase(), headers, body: body ? body.value : undefined });
  const text = await response.text();
  const json = (response.headers.get("content-type") || "").includes("json");
  return response.status + " " + response.statusText + "\n" + (json ? pretty(JSON.parse(text)) : text);
}

function operationNode(method, path, operation) {
  const parameters = operation.parameters || [];
  return make("details", { id: operation.operationId },
    make("summary", {}, make("span", { className: "method " + method }, method.toUpperCase()),
      make("span", { className: "path" }, path), " ", make("span", { className: "quiet" }, operation.summary)),
    operation.description ? make("p", {}, operation.description) : null,
    parameters.length ? parameterTable(parameters) : null,
    operation.requestBody ? make("div", {}, make("h3", {}, "Body"), ...bodyOf(operation.requestBody.content)) : null,
    make("h3", {}, "Answers"), ...answers(operation.responses),
    make("h3", {}, "Try it"), tryForm(method, path, operation));
}

function schemaNode(name, schema) {
  const needed = new Set(schema.required || []);
  const rows = Object.entries(schema.properties || {}).map(([field, inner]) => [
    make("code", {}, field), needed.has(field) ? "required" : "", typeOf(inner), inner.description || ""]);
  return make("details", { id: "schema-" + name }, make("summary", {}, make("code", {}, name), " ",
    make("span", { className: "quiet" }, schema.description || "")),
    rows.length ? table(["field", "", "type", "meaning"], rows) : make("pre", {}, pretty(schema)));
}

async function main() {
  spec = await (await fetch("/openapi.json")).json();
  document.getElementById("title").textContent = spec.info.title + " " + spec.info.version;
  document.getElementById("description").textContent = spec.info.description || "";
  const groups = new Map((spec.tags || []).map((tag) => [tag.name, [make("h2", {}, tag.name), make("p", {}, tag.description)]]));
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const group = groups.get(operation.tags[0]) || groups.set(operation.tags[0], []).get(operation.tags[0]);
      group.push(operationNode(method, path, operation));
    }
  }
  document.getElementById("operations").replaceChildren(...[...groups.values()].flat());
  document.getElementById("schemas").replaceChildren(
    ...Object.entries(spec.components.schemas).map(([name, schema]) => schemaNode(name, schema)));
}

main().catch((error) => { document.getElementById("operations").textContent = "The document cannot be read: " + error; });
