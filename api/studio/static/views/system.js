// State of the installation: version, readiness of its parts, and what runs and waits.

import { html, useEffect, useState } from "../lib/preact.js";
import { request } from "../lib/api.js";
import { capitalized, typeName, words } from "../lib/format.js";
import { Link } from "../lib/router.js";
import { Loading, ProblemBox, Status, UserText } from "../components/basics.js";

const REFRESH_MS = 5000;

async function readState(signal) {
  const readiness = await fetch("/readyz", { signal }).then((response) => response.json());
  const version = await request("/version", { signal });
  return { readiness, version };
}

export function System() {
  const [state, setState] = useState(null);
  const [active, setActive] = useState(null);
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    const controller = new AbortController();
    let timer = 0;
    const read = async () => {
      try {
        setState(await readState(controller.signal));
        setActive((await request("/v1/jobs?status=running&status=queued&limit=50", { signal: controller.signal })).jobs);
        setProblem(null);
      } catch (error) {
        if (error.name === "AbortError") return;
        setProblem(error);
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
    <${ProblemBox} problem=${problem} />
    ${!state && !problem && html`<${Loading} what="Reading the state" />`}
    ${state && html`<div class="card"><h2>${state.readiness.ready ? "Ready for jobs" : "Not ready"}</h2>
      <ul class="checks">${Object.entries(state.readiness.checks).map(([part, text]) => html`<li>
        <span class="status ${text === "ok" ? "status-succeeded" : "status-failed"}">${text === "ok" ? "OK" : "Problem"}</span>
        <strong>${capitalized(words(part))}</strong>${text === "ok" ? "" : html`<${UserText} text=${text} limit=${600} />`}</li>`)}</ul>
      <p class="quiet">musetalk-flows ${state.version.version}, API ${state.version.api}</p></div>`}
    ${active && html`<div class="card"><h2>Running and waiting</h2>
      ${active.length ? html`<ul class="checks">${active.map((job) => html`<li key=${job.id}><${Status} status=${job.status} />
        <${Link} to="/studio/jobs/${job.id}">${typeName(job.type)}<//> <span class="quiet">${job.status === "running" ? `${words(job.phase || "")} ${Math.floor(job.progress.percent)} %` : job.queue_position ? `position ${job.queue_position}` : ""}</span></li>`)}</ul>`
        : html`<p class="quiet">No job runs or waits.</p>`}</div>`}
  </section>`;
}
