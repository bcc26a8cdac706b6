// New job: choose a type, give media and values, check, run.

import { html, useEffect, useMemo, useRef, useState } from "../lib/preact.js";
import { jobPath, request } from "../lib/api.js";
import { fieldsOf, faultsOf, sections, withValue } from "../lib/schema.js";
import { interruptedUploads } from "../lib/uploads.js";
import { carriedValues, carryMedia, forgetMedia } from "../lib/carried_media.js";
import { SPOKEN, formPointer, requestOf, valuesOf } from "../lib/spoken_text.js";
import { typeName } from "../lib/format.js";
import { navigate } from "../lib/router.js";
import { ActionButton, Described, Loading, ProblemBox, UserText, announce, lazy } from "../components/basics.js";
import { Field } from "../components/form_fields.js";
import { RequestText } from "../components/request_panel.js";
import { SpeechChoice } from "../components/speech_choice.js";

const Estimate = lazy(() => import("../components/estimate.js").then((module) => module.Estimate));

const FIRST_TYPES = ["lip_sync", "portrait", "speech", "transcribe"];
const SUMMARIES = {
  lip_sync: "A person in a video says your recording",
  portrait: "A photo speaks a recording or a text",
  speech: "A voice speaks a text",
  transcribe: "Speech becomes text and captions",
  analyze: "What a picture shows",
  caption: "Captions in a video",
  verify: "Who signed a file, and what made it",
  prepare_avatar: "A face prepared for later jobs",
  persona_sync: "Lip-sync with captions in one job",
  pipeline: "Steps that use each other's results",
  batch: "Many jobs from a table",
  render_new: "One job per new object of a bucket",
};

export function NewJob({ query }) {
  const [types, setTypes] = useState(null);
  const [problem, setProblem] = useState(null);
  const type = query.get("type") || "lip_sync";
  useEffect(() => {
    request("/v1/schemas").then((found) => setTypes(found.types), setProblem);
  }, []);
  return html`<section class="new-job">
    <h1>New job</h1>
    <${ProblemBox} problem=${problem} />
    <${Interrupted} />
    ${!problem && html`<${TypePicker} types=${types} selected=${type} />
      <${JobForm} key=${query.toString()} type=${type} from=${query.get("from")} given=${givenValues(query)} />`}
  </section>`;
}

// An upload that a reload stopped continues when the same file is chosen again.
function Interrupted() {
  const [names] = useState(interruptedUploads);
  if (!names.length) return null;
  return html`<p class="notice">Unfinished ${names.length === 1 ? "upload" : "uploads"}: ${names.slice(0, 3).map((name) => html`<${UserText} text=${name} limit=${80} /> `)}
    Choose the file again to continue.</p>`;
}

// Stands beside the form from the start: the list of types and the form's schema are read at the same time.
function TypePicker({ types, selected }) {
  const known = types || [...new Set([...FIRST_TYPES, selected])];
  const ordered = [...FIRST_TYPES.filter((one) => known.includes(one)), ...known.filter((one) => !FIRST_TYPES.includes(one))];
  const [all, setAll] = useState(!FIRST_TYPES.includes(selected));
  const shown = all ? ordered : ordered.slice(0, FIRST_TYPES.length);
  return html`<fieldset class="types"><legend>Job type</legend>
    ${shown.map((type) => html`<label class="type ${type === selected ? "type-selected" : ""}">
      <input type="radio" name="job-type" value=${type} checked=${type === selected}
        onChange=${() => navigate(`/studio/new?type=${type}`)} />
      <span class="type-name">${typeName(type)}</span><span class="type-text">${SUMMARIES[type] || ""}</span></label>`)}
    ${!all && html`<button type="button" class="type type-more" onClick=${() => setAll(true)}>
      <span class="type-name">More types</span><span class="type-text">${types ? `${ordered.length - shown.length} others` : "…"}</span></button>`}
  </fieldset>`;
}

function JobForm({ type, from, given }) {
  const [schema, setSchema] = useState(null);
  const [values, setValues] = useState({});
  const [touched, setTouched] = useState({});
  const [serverFaults, setServerFaults] = useState({});
  const [problem, setProblem] = useState(null);
  const [estimate, setEstimate] = useState(null);
  const [uploads, setUploads] = useState({});
  const [voiceFields, setVoiceFields] = useState([]);
  const form = useRef(null);

  useEffect(() => {
    let current = true;
    Promise.all([
      request(`/v1/schemas/${encodeURIComponent(type)}`),
      from ? request(`${jobPath(from)}/request`) : null,
    ]).then(([found, earlier]) => {
      if (!current) return;
      setValues(earlier ? valuesOf(earlier.type, earlier.body) || earlier.body : { ...carriedValues(fieldsOf(found.request)), ...given });
      setSchema(found.request);
    }, (error) => current && setProblem(error));
    return () => {
      current = false;
    };
  }, []);

  const fields = useMemo(() => (schema ? fieldsOf(schema) : []), [schema]);
  const spoken = values[SPOKEN];
  const faults = useMemo(() => (spoken
    ? faultsOf([...fields.filter((field) => field.name !== "audio"), ...voiceFields], values)
    : faultsOf(fields, values)), [fields, voiceFields, values]);
  const shownFaults = { ...Object.fromEntries(Object.entries(faults).filter(([pointer]) => touched.all || touched[pointer])), ...serverFaults };
  const change = (path, value) => {
    const pointer = `#/${path.join("/")}`;
    if (path.length === 1) carryMedia(path[0], value);
    setValues((now) => withValue(now, path, value));
    setTouched((now) => ({ ...now, [pointer]: value !== undefined }));
    setServerFaults((now) => without(now, pointer));
    setEstimate(null);
    setProblem(null);
  };
  const busy = (pointer, isBusy) => setUploads((now) => ({ ...now, [pointer]: isBusy }));
  const uploading = Object.values(uploads).some(Boolean);

  const submit = async (dryRun) => {
    setTouched({ all: true });
    setProblem(null);
    const local = Object.keys(faults);
    if (local.length) {
      announce(`${local.length} ${local.length === 1 ? "field needs" : "fields need"} attention`);
      focusField(form.current, local[0]);
      return;
    }
    try {
      const sent = requestOf(type, values);
      const answer = await request(`${jobPath(sent.type)}${dryRun ? "?dry_run=true" : ""}`, { method: "POST", json: sent.body });
      if (dryRun) {
        setEstimate(answer);
        announce("The job can run");
      } else {
        forgetMedia();
        navigate(`/studio/jobs/${answer.id}`);
      }
    } catch (error) {
      setEstimate(null);
      const found = Object.fromEntries(error.errors.map((one) => [formPointer(one.pointer, spoken), one.detail]));
      setServerFaults(found);
      setProblem(error);
      focusField(form.current, Object.keys(found)[0]);
    }
  };

  if (!schema) return html`<${ProblemBox} problem=${problem} />${!problem && html`<${Loading} what="Loading the form" />`}`;
  const context = { values, faults: shownFaults, change, busy };
  const parts = sections(fields);
  return html`<div class="new-columns"><form class="job-form" ref=${form} noValidate
      onSubmit=${(event) => event.preventDefault()} aria-label="${typeName(type)} job">
      <div class="media-fields">${parts.basic.filter(isMedia).map((field) => (type === "lip_sync" && field.name === "audio"
        ? html`<${SpeechChoice} key=${field.pointer} field=${field} form=${context} onFields=${setVoiceFields} />`
        : html`<${Field} key=${field.pointer} field=${field} form=${context} />`))}</div>
      ${parts.basic.filter((field) => !isMedia(field) && !(spoken && field.name === "text")).map((field) => html`<${Field} key=${field.pointer} field=${field} form=${context} />`)}
      ${parts.more.length > 0 && html`<${Group} title="More options" fields=${parts.more} form=${context} />`}
      ${parts.groups.map((group) => html`<${Group} key=${group.pointer} title=${group.title} help=${group.description} fields=${group.fields} form=${context} />`)}
    </form>
    <aside class="side" aria-label="Check and run">
      <div class="actions">
        <${ActionButton} scope="submit" action=${() => submit(true)} disabled=${uploading}>Check<//>
        <${ActionButton} kind="primary" scope="submit" action=${() => submit(false)} disabled=${uploading}>${uploading ? "Uploading" : "Run"}<//>
      </div>
      <p class="quiet">Check reads the inputs and estimates the time. It queues nothing.</p>
      <${ProblemBox} problem=${problem} />
      ${estimate && html`<${Estimate} estimate=${estimate} />`}
      <${RequestText} ...${requestOf(type, values)} />
    </aside></div>`;
}

function Group({ title, help, fields, form }) {
  const changed = fields.some((field) => containsValue(field, form.values));
  const faulty = fields.some((field) => containsFault(field, form.faults));
  const [open, setOpen] = useState(changed);
  return html`<details class="group" open=${open || faulty} onToggle=${(event) => setOpen(event.target.open)}>
    <summary>${title}${changed && html` <span class="changed">changed</span>`}</summary>
    ${help && html`<p class="help"><${Described} text=${help} /></p>`}
    ${(open || faulty || changed) && fields.map((field) => (field.kind === "group"
      ? html`<fieldset class="subgroup" key=${field.pointer}><legend>${field.title}</legend>
          ${field.fields.map((inner) => html`<${Field} key=${inner.pointer} field=${inner} form=${form} />`)}</fieldset>`
      : html`<${Field} key=${field.pointer} field=${field} form=${form} />`))}
  </details>`;
}

// Values in the address, such as ?type=verify&media=job://ID, which other views link to.
function givenValues(query) {
  return Object.fromEntries([...query].filter(([name]) => name !== "type" && name !== "from"));
}

const isMedia = (field) => field.kind === "media";
const containsValue = (field, values) => field.path.reduce((value, part) => value?.[part], values) !== undefined;
const containsFault = (field, faults) =>
  Object.keys(faults).some((pointer) => pointer === field.pointer || pointer.startsWith(`${field.pointer}/`));

function without(faults, pointer) {
  return Object.fromEntries(Object.entries(faults).filter(([name]) => name !== pointer && !name.startsWith(`${pointer}/`)));
}

function focusField(form, pointer) {
  if (!pointer) return;
  setTimeout(() => {
    const field = [...(form?.querySelectorAll("[data-pointer]") || [])].find((one) => one.dataset.pointer === pointer);
    field?.querySelector("input, textarea, select")?.focus();
    field?.scrollIntoView({ block: "center" });
  });
}
