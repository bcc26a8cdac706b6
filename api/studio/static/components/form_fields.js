// One form field per value of a schema: label, control, description and fault.

import { html } from "../lib/preact.js";
import { valueAt } from "../lib/schema.js";
import { words } from "../lib/format.js";
import { Described, UserText, lazy } from "./basics.js";
import { EngineNote } from "./engine_note.js";
import { MediaInput } from "./media_input.js";
import { TypedInput } from "./typed_input.js";

const FacePicker = lazy(() => import("./face_picker.js").then((module) => module.FacePicker));

// Shows a field; `form` holds values, faults, and the functions that change them; `extra` is shown below the label.
export function Field({ field, form, extra }) {
  const value = valueAt(form.values, field.path);
  const fault = form.faults[field.pointer];
  const id = `field-${field.path.join("-")}`;
  const describedBy = [field.description && `${id}-help`, fault && `${id}-fault`].filter(Boolean).join(" ");
  const set = (next) => form.change(field.path, next);
  const props = { field, value, set, id, describedBy, invalid: Boolean(fault), form };
  const Control = CONTROLS[field.kind] || JsonControl;
  const inline = field.kind === "boolean";
  return html`<div class="field field-${field.kind} ${fault ? "field-invalid" : ""}" data-pointer=${field.pointer}>
    ${!inline && html`<${Label} field=${field} id=${id} />`}
    ${extra}
    <${Control} ...${props} />
    ${field.kind === "choice_or_number" && field.name === "face" && html`<${FacePicker} values=${form.values} value=${value} onChoose=${set} />`}
    ${isEngine(field) && html`<${EngineNote} name=${value ?? field.default} />`}
    ${field.description && html`<p class="help" id="${id}-help"><${Described} text=${field.description} /></p>`}
    ${fault && html`<p class="fault" id="${id}-fault" role="alert"><${UserText} text=${fault} limit=${600} /></p>`}
  </div>`;
}

const isEngine = (field) => field.name === "engine" && field.options?.includes("viseme");

function Label({ field, id }) {
  const text = html`${field.title} <code class="field-name">${field.name}</code>${
    field.required && html` <span class="required">required</span>`}`;
  return field.kind === "choices" ? html`<p class="label" id="${id}-label">${text}</p>` : html`<label class="label" for=${id}>${text}</label>`;
}

const common = ({ id, describedBy, invalid }) => ({
  id,
  "aria-describedby": describedBy || undefined,
  "aria-invalid": invalid ? "true" : "false",
});

const readText = (event) => event.target.value || undefined;

function TextControl(props) {
  const { field, value, set } = props;
  return html`<${TypedInput} type="text" class="input" dir="auto" ...${common(props)} value=${value}
    placeholder=${field.default ?? field.example ?? ""} read=${readText} set=${set} />`;
}

function LongTextControl(props) {
  const { field, value, set } = props;
  return html`<${TypedInput} tag="textarea" class="input" rows="3" dir="auto" ...${common(props)} value=${value}
    placeholder=${field.example ?? ""} read=${readText} set=${set} />`;
}

function NumberControl(props) {
  const { field, value, set } = props;
  const read = (event) => {
    const text = event.target.value;
    if (text === "" && !event.target.validity.badInput) return undefined;
    return Number.isFinite(event.target.valueAsNumber) ? event.target.valueAsNumber : text || "?";
  };
  return html`<${TypedInput} type="number" class="input input-number" ...${common(props)} value=${value} min=${field.minimum}
    max=${field.maximum} step=${field.kind === "integer" ? 1 : "any"} placeholder=${field.default ?? ""} read=${read} set=${set} />`;
}

function BooleanControl(props) {
  const { field, value, set, id } = props;
  const checked = value ?? field.default ?? false;
  return html`<span class="check"><input type="checkbox" ...${common(props)} checked=${checked}
      onChange=${(event) => set(event.target.checked === field.default ? undefined : event.target.checked)} />
    <label for=${id}>${field.title} <code class="field-name">${field.name}</code></label></span>`;
}

function ChoiceControl(props) {
  const { field, value, set } = props;
  const empty = field.default === null || field.default === undefined;
  const read = (event) => {
    const text = event.target.value;
    set(text === "" || text === field.default ? undefined : text);
  };
  return html`<select class="input" ...${common(props)} value=${value ?? field.default ?? ""} onChange=${read}>
    ${empty && html`<option value="">${field.required ? "Choose" : "default"}</option>`}
    ${visible(field).map((option) => html`<option value=${option} selected=${option === (value ?? field.default)}>${words(option)}</option>`)}
  </select>`;
}

// `fake` is an engine for tests of the system.
const visible = (field) => field.options.filter((option) => option !== "fake");

function ChoiceOrNumberControl(props) {
  const { field, value, set } = props;
  const numeric = typeof value === "number";
  const choose = (event) => {
    const text = event.target.value;
    set(text === "#" ? field.minimum ?? 0 : text === field.default ? undefined : text);
  };
  return html`<span class="pair"><select class="input" ...${common(props)} value=${numeric ? "#" : value ?? field.default} onChange=${choose}>
    ${field.options.map((option) => html`<option value=${option} selected=${option === (value ?? field.default)}>${words(option)}</option>`)}
    <option value="#" selected=${numeric}>by number</option></select>
    ${numeric && html`<${TypedInput} type="number" class="input input-number" value=${value} min=${field.minimum} max=${field.maximum}
      aria-label=${`${field.title}: number`} read=${(event) => event.target.valueAsNumber || 0} set=${set} />`}
  </span>`;
}

function ChoicesControl({ field, value, set, id }) {
  const chosen = value ?? field.default ?? [];
  const toggle = (option) => {
    const next = field.options.filter((one) => (one === option ? !chosen.includes(one) : chosen.includes(one)));
    set(JSON.stringify(next) === JSON.stringify(field.default) ? undefined : next);
  };
  return html`<div class="choices" role="group" aria-labelledby="${id}-label">${field.options.map((option) => html`<label class="chip">
    <input type="checkbox" checked=${chosen.includes(option)} onChange=${() => toggle(option)} /> ${words(option)}</label>`)}</div>`;
}

function ListControl(props) {
  const { field, value, set } = props;
  const read = (event) => {
    const entries = event.target.value.split(",").map((one) => one.trim()).filter(Boolean);
    return entries.length ? entries : undefined;
  };
  return html`<${TypedInput} type="text" class="input" dir="auto" ...${common(props)} value=${value} on="onChange"
    placeholder=${(field.example || []).join?.(", ") || "separated by commas"} show=${(list) => list.join(", ")} read=${read} set=${set} />`;
}

function JsonControl(props) {
  const { field, value, set } = props;
  const read = (event) => {
    if (!event.target.value.trim()) return undefined;
    try {
      return JSON.parse(event.target.value);
    } catch {
      return event.target.value;
    }
  };
  return html`<${TypedInput} tag="textarea" class="input code" rows="5" dir="ltr" spellcheck="false" ...${common(props)} value=${value}
    placeholder=${JSON.stringify(field.example ?? null, null, 1)} show=${(one) => JSON.stringify(one, null, 2)} read=${read} set=${set} />`;
}

const MediaControl = ({ field, value, set, describedBy, invalid, form }) =>
  html`<${MediaInput} field=${field} value=${value} onChange=${set} onBusy=${form.busy} describedBy=${describedBy} invalid=${invalid} />`;

const CONTROLS = {
  media: MediaControl,
  text: TextControl,
  date: TextControl,
  long_text: LongTextControl,
  integer: NumberControl,
  number: NumberControl,
  boolean: BooleanControl,
  choice: ChoiceControl,
  choice_or_number: ChoiceOrNumberControl,
  choices: ChoicesControl,
  list: ListControl,
};
