// Renders openapi.json: operations with their examples, then the shapes that they refer to. Uses nothing from elsewhere.

/** An element with attributes and children; text is never read as HTML. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const anchor = (name) => `#schema-${name}`;
const nameOf = (reference) => reference.split("/").pop();

/** What a schema allows, in words and links. */
function type(schema) {
  if (schema.$ref) return [element("a", { href: anchor(nameOf(schema.$ref)) }, nameOf(schema.$ref))];
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.flatMap((choice, index) => [...(index ? [" or "] : []), ...type(choice)]);
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(" or ")];
  const kinds = [schema.type ?? "anything"].flat();
  const name = kinds.map((kind) => (kind === "array" ? "list" : kind)).join(" or ");
  const range = [
    schema.minimum !== undefined && `from ${schema.minimum}`,
    schema.exclusiveMinimum !== undefined && `above ${schema.exclusiveMinimum}`,
    schema.maximum !== undefined && `to ${schema.maximum}`,
  ].filter(Boolean);
  const bounds = range.length ? ` ${range.join(" ")}` : "";
  return kinds.includes("array") && schema.items ? [`${name} of `, ...type(schema.items)] : [name + bounds];
}

/** Text in which what stands between backticks is code. */
function prose(text = "") {
  return text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

/** Fields of an object, and of the objects within it. */
function rows(schema, path = "") {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const title = element("code", required.has(name) ? { class: "required", title: "required" } : {}, path + name);
    const inner = field.items?.properties ? [field.items, `${path}${name}[].`] : [field, `${path}${name}.`];
    const row = element(
      "tr", {},
      element("td", {}, title),
      element("td", { class: "type" }, ...type(field)),
      element("td", {}, ...prose(field.description)),
    );
    return [row, ...(inner[0].properties ? rows(...inner) : [])];
  });
}

function fields(schema) {
  if (schema.oneOf) return element("div", {}, ...schema.oneOf.map((one) => fields(one)));
  return element("div", {}, element("p", {}, ...prose(schema.description)), element("table", {}, element("tbody", {}, ...rows(schema))));
}

function example(method, path, title, value) {
  const shown = JSON.stringify(value, null, 2);
  const command = `curl ${location.origin}${path} -H 'Content-Type: application/json' -d '${shown.replaceAll("'", "'\\''")}'`;
  return element("details", {}, element("summary", {}, title), element("pre", {}, element("code", {}, command)));
}

function operation(path, method, described) {
  const content = described.requestBody?.content["application/json"];
  const examples = Object.values(content?.examples ?? {});
  const answers = Object.entries(described.responses).map(([status, response]) => {
    const kinds = Object.entries(response.content ?? {});
    const shapes = kinds.flatMap(([kind, { schema }]) => [" ", element("code", {}, kind), ...(schema ? [": ", ...type(schema)] : [])]);
    const problem = response.$ref ? ["error: ", element("a", { href: anchor("Error") }, "Error")] : prose(response.description);
    return element("li", {}, element("code", {}, status), " ", ...problem, ...shapes);
  });
  return [
    element("h2", { id: described.operationId }, element("span", { class: "method" }, method.toUpperCase()), " ", path),
    element("p", {}, ...prose(described.summary), ". ", ...prose(described.description)),
    content ? element("p", {}, "Body: ", ...type(content.schema)) : null,
    ...examples.map(({ summary, value }) => example(method, path, summary, value)),
    element("ul", {}, ...answers),
  ].filter(Boolean);
}

function render(document_) {
  const operations = Object.entries(document_.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) => ({ path, method, described })));
  const schemas = Object.entries(document_.components.schemas);
  document.getElementById("reference").replaceChildren(
    element("h1", {}, document_.info.title),
    element("p", {}, ...prose(document_.info.description)),
    element("p", {}, "Described for programs in ", element("a", { href: "openapi.json" }, "openapi.json"), ". Fields with * are required."),
    ...operations.flatMap(({ path, method, described }) => operation(path, method, described)),
    element("h2", { id: "errors" }, "Errors"),
    element("p", {}, ...prose(document_.components.responses.Error.description)),
    element("h2", { id: "schemas" }, "Shapes"),
    ...schemas.flatMap(([name, schema]) => [element("h3", { id: anchor(name).slice(1) }, name), fields(schema)]),
  );
  const link = (href, text) => element("li", {}, element("a", { href }, text));
  document.getElementById("contents").replaceChildren(
    element("ul", {},
      ...operations.map(({ path, described }) => link(`#${described.operationId}`, path)),
      link("#errors", "Errors"),
      ...schemas.map(([name]) => link(anchor(name), name))),
  );
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

try {
  const response = await fetch("openapi.json");
  render(await response.json());
} catch (error) {
  document.getElementById("reference").textContent = `openapi.json cannot be read: ${error.message}`;
}
