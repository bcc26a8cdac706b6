// Engines and models of the installation: state, size, licence, and download with progress.

import { html, useEffect, useState } from "../lib/preact.js";
import { request } from "../lib/api.js";
import { bytes } from "../lib/format.js";
import { ActionButton, CopyButton, ProblemBox, UserText } from "./basics.js";

const STATES = { installed: "status-succeeded", partial: "status-canceled", missing: "", damaged: "status-failed" };
const PULL_POLL_MS = 2000;
const pullPath = (name) => `/v1/models/${encodeURIComponent(name)}/pull`;
const isInstalled = (model) => model.state === "installed" || (model.state === null && model.bundled);

export function Models() {
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState(null);
  const read = () => request("/v1/models").then(setFound, setProblem);
  const running = found?.pull?.state === "running";
  useEffect(() => {
    read();
  }, []);
  useEffect(() => {
    if (!running) return undefined;
    const timer = setInterval(read, PULL_POLL_MS);
    return () => clearInterval(timer);
  }, [running]);
  const act = (method, query = "") => async (name) => {
    setProblem(null);
    try {
      await request(pullPath(name) + query, { method });
      await read();
    } catch (error) {
      setProblem(error);
    }
  };
  if (!found) return html`<${ProblemBox} problem=${problem} />`;
  const installed = found.models.filter(isInstalled);
  const others = found.models.filter((model) => !isInstalled(model));
  const start = found.models_here && !running ? act("POST", "?accept_licence=true") : null;
  return html`<div class="card"><h2>Engines and models</h2>
    ${!found.models_here && html`<p class="quiet">The workers use models of other computers: their state is not known here.</p>`}
    <${ProblemBox} problem=${problem} />
    <${Pull} pull=${found.pull} onStop=${act("DELETE")} />
    <ul class="checks">${found.engines.map((engine) => html`<${Engine} key=${engine.name} engine=${engine} isAuto=${engine.default} />`)}</ul>
    <h3>Transcription</h3>
    <ul class="checks">${found.transcription_engines.map((engine) => html`<${Engine} key=${engine.name} engine=${engine} isAuto=${engine.preferred}>
      ${engine.models?.length > 0 && html`<span class="quiet">models: ${engine.models.join(", ")}</span>`}
      ${engine.converts?.length > 0 && html` <span class="quiet">converts at the first use: ${engine.converts.join(", ")}</span>`}<//>`)}</ul>
    <${ModelTable} label="Installed models" models=${installed} />
    ${others.length > 0 && html`<details class="reference"><summary>${others.length} other models that can be installed</summary>
      <${ModelTable} label="Other models" models=${others} onPull=${start} /></details>`}</div>`;
}

function Engine({ engine, isAuto, children }) {
  return html`<li>
    ${engine.installed !== null && html`<span class="status ${engine.installed ? "status-succeeded" : ""}">${engine.installed ? "Installed" : "Not installed"}</span>`}
    <strong>${engine.name}</strong> ${engine.installed === null && html`<span class="quiet">state unknown</span>`} ${isAuto && html`<span class="quiet">used for auto</span>`}
    ${children}
    ${engine.problem && html`<span class="quiet"><${UserText} text=${engine.problem} limit=${600} /></span>`}</li>`;
}

function Pull({ pull, onStop }) {
  if (!pull || pull.state === "stopped") return null;
  if (pull.state === "running") {
    return html`<div class="notice" role="status"><p>Downloading <strong>${pull.name}</strong> ${pull.file && html`<code>${pull.file}</code> ${pull.percent} %`}</p>
      <progress max="100" value=${pull.percent} aria-label="Download of ${pull.name}"></progress>
      <div><${ActionButton} kind="small" scope="admin" action=${() => onStop(pull.name)}>Stop<//></div></div>`;
  }
  const failed = pull.state === "failed";
  return html`<div class="notice ${failed ? "notice-error" : "notice-good"}"><p>Download of <strong>${pull.name}</strong>: ${pull.state}</p>
    ${failed && html`<pre class="code-block" tabindex="0" role="region" aria-label="Output of the download">${pull.detail}</pre>`}</div>`;
}

function ModelTable({ label, models, onPull }) {
  if (!models.length) return null;
  return html`<div class="table-scroll" tabindex="0" role="region" aria-label=${label}><table class="table table-stack">
    <thead><tr><th scope="col">Model</th><th scope="col">State</th><th scope="col">Size</th><th scope="col">Licence</th><th scope="col">Installation</th></tr></thead>
    <tbody>${models.map((model) => html`<tr key=${model.name}><th scope="row"><strong>${model.name}</strong><br /><span class="quiet">${model.title}</span></th>
      <td><span class="status ${STATES[model.state] || ""}">${model.state || "unknown"}</span>${model.problem && html`<br /><span class="quiet"><${UserText} text=${model.problem} limit=${300} /></span>`}</td>
      <td>${bytes(model.bytes)}</td><td>${model.non_commercial && html`<strong>No commercial use</strong><br />`}<${UserText} text=${model.licence} limit=${200} /></td>
      <td class="whole">${isInstalled(model) ? html`<span class="quiet">${model.bundled ? "part of the installation" : "downloaded"}</span>` : html`<${Installation} model=${model} onPull=${onPull} />`}</td></tr>`)}</tbody></table></div>`;
}

// A download starts with a second press, beside the licence that the user accepts with it.
function Installation({ model, onPull }) {
  const [asked, setAsked] = useState(false);
  return html`<p><code>${model.command}</code> <${CopyButton} text=${model.command} what="the command" /></p>
    ${onPull && !asked && html`<${ActionButton} kind="small" scope="admin" label="Download ${model.name}" action=${() => setAsked(true)}>Download<//>`}
    ${onPull && asked && html`<p class="quiet">${bytes(model.bytes)}${model.needs.length ? ` and ${model.needs.join(", ")}` : ""}. Licence: <${UserText} text=${model.licence} limit=${300} />${model.non_commercial && html`<br /><strong>This licence forbids commercial use.</strong>`}</p>
      <span class="actions"><${ActionButton} kind="primary small" action=${() => onPull(model.name)}>Accept and download<//>
      <button type="button" class="button small" onClick=${() => setAsked(false)}>Cancel</button></span>`}`;
}
