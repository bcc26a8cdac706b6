// The result of a job in place: video beside its source, sound, picture, text, and the list of files.

import { html, useEffect, useState } from "../lib/preact.js";
import { download, filePath, send } from "../lib/api.js";
import { useMediaUrl } from "../lib/media_url.js";
import { rememberedFile } from "../lib/uploads.js";
import { kindOf, outputNames, storedOf } from "../lib/outputs.js";
import { bytes, capitalized, duration, words } from "../lib/format.js";
import { ActionButton, CopyButton, UserText } from "./basics.js";
import { QualityCard } from "./quality_card.js";
import { Verification } from "./verification.js";
import { Comparison } from "./comparison.js";

const MAX_TEXT = 20_000;

export function ResultView({ job, body }) {
  const names = outputNames(job);
  const [shown, setShown] = useState(names[0]);
  const name = names.includes(shown) ? shown : names[0];
  const warnings = job.result.warnings || [];
  return html`<section class="result" aria-label="Result">
    ${job.type === "verify" && html`<${Verification} result=${job.result} />`}
    ${name ? html`<${FileView} key=${name} job=${job} name=${name} body=${body} />` : html`<${TextResult} job=${job} />`}
    ${name && kindOf(name) !== "text" && html`<${TextResult} job=${job} />`}
    <div class="result-facts">
      <${Facts} job=${job} />
      ${job.result.quality && html`<${QualityCard} card=${job.result.quality} />`}
      ${warnings.length > 0 && html`<div class="notice notice-warning"><h2>Warnings</h2><ul class="plain">${warnings.map((one) => html`<li>
        <${UserText} text=${one} limit=${800} /></li>`)}</ul></div>`}
      ${names.length > 0 && html`<h2>Files</h2><${FileList} job=${job} names=${names.filter((one) => !isManifest(one))} shown=${name} onShow=${setShown} />`}
      ${names.some(isManifest) && html`<details class="reference"><summary>Provenance manifests</summary>
        <${FileList} job=${job} names=${names.filter(isManifest)} shown=${name} onShow=${setShown} /></details>`}
    </div>
  </section>`;
}

const isManifest = (name) => name.endsWith(".c2pa");

function FileList({ job, names, shown, onShow }) {
  return html`<ul class="files">${names.map((name) => html`<li>
    <button type="button" class="link" aria-pressed=${name === shown ? "true" : "false"} onClick=${() => onShow(name)}><${UserText} text=${name} /></button>
    <span class="quiet">${storedOf(job, name).size ? bytes(storedOf(job, name).size) : ""}</span>
    <${CopyButton} text=${storedOf(job, name).uri || ""} what="the address of the file" label=${String(storedOf(job, name).uri).startsWith("s3://") ? "Copy S3 path" : "Copy address"} />
    <${ActionButton} kind="small" action=${() => download(filePath(job.id, name), name)}>Download<//></li>`)}</ul>`;
}

function FileView({ job, name, body }) {
  const kind = kindOf(name);
  const [url, problem] = useMediaUrl(["video", "audio", "image"].includes(kind) ? filePath(job.id, name) : "");
  const [lost, setLost] = useState(false);
  if (problem || lost) return html`<p class="notice notice-error" role="alert">${problem ? problem.message : "The file cannot be shown: it was deleted, replaced, or this browser does not play it."}</p>`;
  if (kind === "text") return html`<${TextFile} path=${filePath(job.id, name)} />`;
  if (kind === "other") return html`<p class="notice">This file is not shown here. Download it.</p>`;
  if (!url) return html`<p class="loading" role="status">Loading the result…</p>`;
  const onError = () => setLost(true);
  if (kind === "image") return html`<img class="result-image" src=${url} alt="Result" onError=${onError} />`;
  if (kind === "audio") return html`<audio class="result-audio" src=${url} controls aria-label="Result" onError=${onError}></audio>`;
  return html`<${Comparison} job=${job} body=${body} resultUrl=${url} source=${sourceOf(body)} fps=${job.result.fps} onError=${onError} />`;
}

// The picture source of a job: a file of this page, or a file of another job.
function sourceOf(body) {
  const talk = (body?.steps || []).findLast?.((step) => step.job?.video || step.job?.image)?.job || body;
  const reference = talk?.video || talk?.image;
  if (typeof reference !== "string") return null;
  const file = rememberedFile(reference);
  if (file) return { file };
  const asset = reference.match(/^asset:\/\/([0-9a-f]{32})$/);
  if (asset) return { path: `/v1/assets/${asset[1]}` };
  const job = reference.match(/^job:\/\/([0-9a-f-]{36})$/);
  return job ? { path: `/v1/jobs/${job[1]}/result` } : null;
}

function TextFile({ path }) {
  const [text, setText] = useState("");
  useEffect(() => {
    const controller = new AbortController();
    send(path, { signal: controller.signal, headers: { Accept: "*/*", Range: `bytes=0-${MAX_TEXT}` } })
      .then((response) => response.text()).then(setText, () => {});
    return () => controller.abort();
  }, [path]);
  return html`<pre class="text-result" tabindex="0" role="region" aria-label="Text of the file" dir="auto">${text}</pre>`;
}

function TextResult({ job }) {
  const { text, answer } = job.result || {};
  const shown = answer || text;
  return typeof shown === "string" && shown ? html`<div class="text-result" tabindex="0" role="region" aria-label="Text of the result" dir="auto">${shown.slice(0, MAX_TEXT)}</div>` : null;
}

const NAMES = { phones: "Phonemes", fps: "Frame rate", speech_s: "Speech", duration_s: "Duration" };
const FACTS = ["engine", "version", "model", "voice", "language", "width", "height", "fps", "frames", "duration_s", "speech_s", "phones", "total", "succeeded", "failed", "canceled", "invalid"];

function Facts({ job }) {
  const { result } = job;
  const facts = FACTS.filter((name) => ["string", "number"].includes(typeof result[name]));
  if (!facts.length && !result.provenance) return null;
  return html`<dl class="facts facts-grid">
    ${facts.map((name) => html`<div><dt>${NAMES[name] || capitalized(words(name))}</dt><dd><${UserText} text=${name.endsWith("_s") ? duration(result[name]) : result[name]} limit=${80} /></dd></div>`)}
    ${result.faces && html`<div><dt>Frames with a face</dt><dd>${result.faces.with_face ?? "?"}${result.faces.frames ? ` of ${result.faces.frames}` : ""}</dd></div>`}
    ${(result.cached || []).length > 0 && html`<div><dt>From the cache</dt><dd>${result.cached.length} steps</dd></div>`}
    ${result.provenance && html`<div><dt>Signed</dt><dd>${result.provenance.manifest ? html`${result.provenance.manifest}${result.provenance.signer ? html`, <${UserText} text=${result.provenance.signer} limit=${80} />` : ""}` : "no"}</dd></div>`}
  </dl>`;
}
