// State of the installation: readiness, what runs and waits, workers, and its engines and models.

import { html, useEffect, useState } from "../lib/preact.js";
import { request } from "../lib/api.js";
import { ago, bytes, capitalized, dateTime, inputNames, typeName, words } from "../lib/format.js";
import { rooted } from "../lib/root.js";
import { Link } from "../lib/router.js";
import { Loading, ProblemBox, Status, UserText } from "../components/basics.js";
import { Models } from "../components/models.js";

const REFRESH_MS = 5000;

// Reads the parts of the view; a part that fails keeps its problem, and the others are shown.
async function readParts(signal) {
  const readiness = fetch(rooted("/readyz"), { signal }).then((response) => response.json());
  const parts = { readiness, version: request("/version", { signal }), workers: request("/v1/workers", { signal }),
    active: request("/v1/jobs?status=running&status=queued&limit=50", { signal }) };
  const settled = await Promise.allSettled(Object.values(parts));
  return Object.fromEntries(Object.keys(parts).map((name, index) =>
    [name, settled[index].status === "fulfilled" ? { value: settled[index].value } : { problem: settled[index].reason }]));
}

export function System() {
  const [parts, setParts] = useState(null);
  useEffect(() => {
    const controller = new AbortController();
    let timer = 0;
    const read = async () => {
      if (!document.hidden) {
        const found = await readParts(controller.signal);
        if (controller.signal.aborted) return;
        setParts(found);
      }
      timer = setTimeout(read, REFRESH_MS);
    };
    read();
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, []);
  return html`<section class="system">
    <h1>System</h1>
    ${!parts && html`<${Loading} what="Reading the state" />`}
    ${parts && html`<${Part} part=${parts.readiness}>${(value) => html`<${Readiness} readiness=${value} version=${parts.version.value} />`}<//>
      <${Part} part=${parts.active}>${(value) => html`<${Active} jobs=${value.jobs} />`}<//>
      <${Part} part=${parts.workers}>${(value) => html`<${Workers} workers=${value.workers} />`}<//>
      <${Models} />`}
  </section>`;
}

const Part = ({ part, children }) => (part.problem ? html`<${ProblemBox} problem=${part.problem} />` : [children].flat()[0](part.value));

function Readiness({ readiness, version }) {
  return html`<div class="card"><h2>${readiness.ready ? "Ready for jobs" : "Not ready"}</h2>
    <ul class="checks">${Object.entries(readiness.checks).map(([part, text]) => html`<li>
      <span class="status ${text === "ok" ? "status-succeeded" : "status-failed"}">${text === "ok" ? "OK" : "Problem"}</span>
      <strong>${capitalized(words(part))}</strong>${text === "ok" ? "" : html` <${UserText} text=${text} limit=${600} />`}</li>`)}</ul>
    ${version && html`<p class="quiet">musetalk-flows ${version.version}, API ${version.api}</p>`}</div>`;
}

function Active({ jobs }) {
  return html`<div class="card"><h2>Running and waiting</h2>
    ${jobs.length ? html`<ul class="checks">${jobs.map((job) => html`<li key=${job.id}><${Status} status=${job.status} />
      <${Link} to="/studio/jobs/${job.id}">${typeName(job.type)}<//> <${UserText} text=${inputNames(job)} limit=${120} /> <span class="quiet">${job.status === "running" ? `${words(job.phase || "")} ${Math.floor(job.progress.percent)} %` : job.queue_position ? `position ${job.queue_position}` : ""}</span></li>`)}</ul>`
      : html`<p class="quiet">No job runs or waits.</p>`}</div>`;
}

function Workers({ workers }) {
  const offline = workers.filter((worker) => !worker.online);
  return html`<div class="card"><h2>Workers</h2>
    ${offline.length === workers.length && html`<p class="quiet">No worker is online. Jobs wait until one starts.</p>`}
    ${workers.filter((worker) => worker.online).map((worker) => html`<section class="worker" key=${worker.name}>
      <h3><${UserText} text=${worker.name} limit=${80} /> <span class="status ${worker.online ? "status-succeeded" : "status-failed"}">${worker.online ? "Online" : "Offline"}</span></h3>
      <p class="quiet">work pool ${worker.pool}${worker.heartbeat_at ? html`, heartbeat <time datetime=${worker.heartbeat_at} title=${dateTime(worker.heartbeat_at)}>${ago(worker.heartbeat_at)}</time>` : ""}</p>
      ${worker.processes.length > 0 && html`<div class="table-scroll" tabindex="0" role="region" aria-label="Processes of ${worker.name}"><table class="table table-stack">
        <thead><tr><th scope="col">Process</th><th scope="col">State</th><th scope="col">Device</th><th scope="col">Memory</th><th scope="col">Loaded models</th><th scope="col">Runs</th></tr></thead>
        <tbody>${worker.processes.map((one) => html`<tr><th scope="row">${one.number}</th>
          <td>${one.job ? html`<${Link} to="/studio/jobs/${one.job}">${one.state}<//>` : one.state}</td><td>${one.gpu}</td>
          <td>${bytes(one.rss_bytes)}${one.device_bytes ? `, GPU ${bytes(one.device_bytes)}` : ""}</td>
          <td><${UserText} text=${one.models.join(", ") || "none"} limit=${200} /></td><td>${one.runs}${one.restarts ? `, ${one.restarts} restarts` : ""}</td></tr>`)}</tbody></table></div>`}
    </section>`)}
    ${offline.length > 0 && html`<details class="reference"><summary>${offline.length} offline</summary><ul class="plain">${offline.map((worker) => html`<li>
      <${UserText} text=${worker.name} limit=${80} />${worker.heartbeat_at ? `, last heartbeat ${ago(worker.heartbeat_at)}` : ""}</li>`)}</ul></details>`}</div>`;
}
