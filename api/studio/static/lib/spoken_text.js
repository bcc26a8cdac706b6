// A lip-sync job whose speech is a text: a pipeline that synthesizes the text and then moves the lips to it.

import { fieldsOf } from "./schema.js";

export const SPOKEN = "@spoken";
const SHOWN_FIELDS = new Set(["text", "engine", "voice", "speed"]);
const STEP_POINTER = /^#\/steps\/[01]\/job\//;

// Fields of the text and its voice, made from the schema of speech jobs; their values lie below SPOKEN.
export function spokenFields(speechSchema) {
  return fieldsOf(speechSchema, [SPOKEN]).filter((field) => SHOWN_FIELDS.has(field.name)).map((field) =>
    (field.name === "text" ? { ...field, required: true, title: "Text to speak" } : field));
}

// Returns the job type and body that a form with these values submits.
export function requestOf(type, values) {
  const { [SPOKEN]: spoken, control, ...job } = values;
  if (!spoken) return { type, body: values };
  const steps = [
    { name: "speak", type: "speech", job: spoken },
    { name: "talk", type, job: { ...job, audio: "job://speak" } },
  ];
  return { type: "pipeline", body: { steps, ...(control && { control }) } };
}

// Returns the form's values for a pipeline that requestOf made, null for any other request.
export function valuesOf(type, body) {
  const [speak, talk, ...others] = body?.steps || [];
  if (type !== "pipeline" || others.length || talk?.type !== "lip_sync" || talk.job?.audio !== "job://speak" || speak?.name !== "speak") return null;
  const { audio, ...job } = talk.job;
  return { ...job, [SPOKEN]: speak.job, ...(body.control && { control: body.control }) };
}

// Returns the pointer in the form for a pointer into the pipeline.
export function formPointer(pointer, spoken) {
  if (!spoken || !STEP_POINTER.test(pointer)) return pointer;
  return pointer.replace(STEP_POINTER, pointer.startsWith("#/steps/0/") ? `#/${SPOKEN}/` : "#/");
}
