// Fields of a form, made from the JSON Schema of a job type (GET /v1/schemas/{job_type}).

const MEDIA_REFERENCE = /^(s3|asset|job):\/\//;
const LONG_TEXT = 1000;
const BASIC_NAMES = new Set(["text", "question", "features", "engine", "face", "format", "how", "captions"]);

// Returns the fields of a request schema in the schema's order; groups have fields of their own.
export function fieldsOf(schema, path = []) {
  return objectFields(schema, schema.$defs || {}, path);
}

function objectFields(schema, definitions, path) {
  const required = new Set(schema.required || []);
  return Object.entries(schema.properties || {}).map(([name, raw]) =>
    fieldOf(name, raw, definitions, path, required.has(name)));
}

function fieldOf(name, raw, definitions, path, required) {
  const { schema, nullable } = resolve(raw, definitions);
  const own = [...path, name];
  const field = {
    name,
    path: own,
    pointer: pointerOf(own),
    title: raw.title || (schema.properties ? "" : schema.title) || titleOf(name),
    description: raw.description || schema.description || "",
    example: (raw.examples || schema.examples || [])[0],
    default: raw.default,
    required,
    nullable,
    ...limitsOf(schema),
    ...kindOf(schema, raw),
  };
  if (field.kind === "group") field.fields = objectFields(schema, definitions, own);
  return field;
}

const titleOf = (name) => name.charAt(0).toUpperCase() + name.slice(1).replace(/_/g, " ");
export const pointerOf = (path) => `#/${path.map((part) => String(part).replace(/~/g, "~0").replace(/\//g, "~1")).join("/")}`;

// Follows $ref, and removes the null of an optional value.
function resolve(raw, definitions) {
  if (raw.$ref) return resolve(definitions[raw.$ref.split("/").pop()], definitions);
  if (raw.anyOf) {
    const branches = raw.anyOf.filter((one) => one.type !== "null");
    const nullable = branches.length < raw.anyOf.length;
    if (branches.length === 1) return { schema: resolve(branches[0], definitions).schema, nullable };
    return { schema: { anyOf: branches.map((one) => resolve(one, definitions).schema) }, nullable };
  }
  return { schema: raw, nullable: false };
}

function kindOf(schema, raw) {
  const example = (raw.examples || schema.examples || [])[0];
  if (schema.anyOf) return unionKind(schema.anyOf);
  if (schema.enum) return { kind: "choice", options: schema.enum };
  if (schema.type === "boolean") return { kind: "boolean" };
  if (schema.type === "integer" || schema.type === "number") return { kind: schema.type };
  if (schema.type === "string") {
    if (typeof example === "string" && MEDIA_REFERENCE.test(example)) return { kind: "media" };
    if (schema.format === "date-time") return { kind: "date" };
    return { kind: (schema.maxLength || 0) >= LONG_TEXT && !/url/i.test(raw.title || "") ? "long_text" : "text" };
  }
  if (schema.type === "array" && schema.items?.enum) return { kind: "choices", options: schema.items.enum };
  if (schema.type === "array" && schema.items?.type === "string") return { kind: "list", itemPattern: schema.items.pattern };
  if (schema.type === "object" && schema.properties) return { kind: "group" };
  return { kind: "json" };
}

function unionKind(branches) {
  const choice = branches.find((one) => one.enum);
  const number = branches.find((one) => one.type === "integer");
  if (choice && number) return { kind: "choice_or_number", options: choice.enum, ...limitsOf(number) };
  const text = branches.find((one) => one.type === "string");
  return text ? { kind: (text.maxLength || 0) >= LONG_TEXT ? "long_text" : "text", ...limitsOf(text) } : { kind: "json" };
}

function limitsOf(schema) {
  const found = {};
  for (const name of ["minimum", "maximum", "minLength", "maxLength", "maxItems", "pattern"]) {
    if (schema[name] !== undefined) found[name] = schema[name];
  }
  return found;
}

// Splits fields into those that most jobs set, the other single values, and the groups.
export function sections(fields) {
  const isBasic = (field) =>
    field.kind !== "group" && (field.required || field.kind === "media" || BASIC_NAMES.has(field.name));
  return {
    basic: fields.filter(isBasic),
    more: fields.filter((field) => field.kind !== "group" && !isBasic(field)),
    groups: fields.filter((field) => field.kind === "group"),
  };
}

export function valueAt(values, path) {
  return path.reduce((value, part) => value?.[part], values);
}

// Returns values with one changed; undefined removes it, and groups that become empty.
export function withValue(values, [first, ...rest], value) {
  const inner = rest.length ? withValue(values?.[first] || {}, rest, value) : value;
  const isEmpty = inner === undefined || (rest.length > 0 && typeof first === "string" && !first.startsWith("@") && !Object.keys(inner).length);
  const copy = { ...values };
  if (isEmpty) delete copy[first];
  else copy[first] = inner;
  return copy;
}

// Returns the message for a value that the API would refuse, "" for a valid one.
export function faultOf(field, value) {
  if (value === undefined || value === "") return field.required ? "This field is required." : "";
  if (["integer", "number"].includes(field.kind)) return numberFault(field, value);
  if (field.kind === "json" && typeof value === "string") return "This is not valid JSON.";
  if (typeof value !== "string") return listFault(field, value);
  const length = [...value].length;
  if (field.maxLength && length > field.maxLength) return `At most ${field.maxLength} characters; there are ${length}.`;
  if (field.minLength && length < field.minLength) return `At least ${field.minLength} characters.`;
  if (field.pattern && !new RegExp(field.pattern, "u").test(value)) return `This does not fit ${field.pattern}`;
  return "";
}

function numberFault(field, value) {
  if (typeof value !== "number") return "Enter a number.";
  if (field.kind === "integer" && !Number.isInteger(value)) return "Enter a whole number.";
  if (field.minimum !== undefined && value < field.minimum) return `At least ${field.minimum}.`;
  if (field.maximum !== undefined && value > field.maximum) return `At most ${field.maximum}.`;
  return "";
}

function listFault(field, value) {
  if (!Array.isArray(value)) return "";
  if (field.maxItems && value.length > field.maxItems) return `At most ${field.maxItems} entries.`;
  const pattern = field.itemPattern && new RegExp(field.itemPattern, "u");
  const bad = pattern && value.find((one) => !pattern.test(one));
  return bad === undefined || bad === null || bad === false ? "" : `${JSON.stringify(bad)} does not fit ${field.itemPattern}`;
}

// Returns the messages of all invalid fields by pointer.
export function faultsOf(fields, values) {
  const found = {};
  for (const field of fields) {
    if (field.kind === "group") {
      // an optional group that was not touched is not sent, so that its required fields do not count
      if (field.required || valueAt(values, field.path)) Object.assign(found, faultsOf(field.fields, values));
    } else {
      const fault = faultOf(field, valueAt(values, field.path));
      if (fault) found[field.pointer] = fault;
    }
  }
  return found;
}
