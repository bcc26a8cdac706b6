// The child jobs of a batch or pipeline: one row per step or row, with its state and result.

import { html, useEffect, useState } from "../lib/preact.js";
import { download, filePath, request } from "../lib/api.js";
import { FINAL } from "../lib/job_events.js";
import { Link } from "../lib/router.js";
import { typeName } from "../lib/format.js";
import { outputNames } from "../lib/outputs.js";
import { ActionButton, ProblemBox, Status, UserText } from "./basics.js";
import { PipelineGraph } from "./pipeline_graph.js";

const POLL_MS = 3000;
const PARENTS = new Set(["batch", "render_new", "pipeline", "persona_sync"]);
const isBatch = (job) => job.type === "batch" || job.type === "render_new";

// Rows of an ended batch that did not succeed, those without a job included: invalid ones.
function FailedRows({ rows }) {
  if (!rows?.length) return null;
  return html`<details class="group" open><summary>${rows.length} ${rows.length === 1 ? "row" : "rows"} did not succeed</summary>
    <ul class="plain">${rows.map((row) => html`<li>Row ${row.row} ${row.job ? html`<${Link} to="/studio/jobs/${row.job}"><${UserText} text=${row.id} limit=${80} /><//>` : html`<${UserText} text=${row.id} limit=${80} />`}
      <span class="status status-${row.status}">${row.status}</span> <${UserText} text=${[row.message, ...row.faults.map((fault) => `${fault.pointer}: ${fault.detail}`)].filter(Boolean).join("; ")} limit=${600} /></li>`)}</ul></details>`;
}

// The main file of a child job, to be downloaded, or the reason why there is none.
function Outcome({ job }) {
  const [problem, setProblem] = useState(null);
  const [name] = job.status === "succeeded" ? outputNames(job) : [];
  if (!name) return html`<${UserText} text=${job.error?.message || ""} limit=${160} />`;
  return html`<span class="outcome"><${UserText} text=${name} limit=${80} />
    <${ActionButton} kind="small" action=${() => download(filePath(job.id, name), name).catch(setProblem)}>Download<//>
    ${problem && html`<span class="fault" role="alert">${problem.message}</span>`}</span>`;
}

export function ChildJobs({ job, body, onJob }) {
  const [children, setChildren] = useState(null);
  const [next, setNext] = useState(null);
  const [status, setStatus] = useState("");
  const [problem, setProblem] = useState(null);
  const ended = FINAL.has(job.status);
  const isParent = PARENTS.has(job.type);
  useEffect(() => {
    if (!isParent) return undefined;
    const controller = new AbortController();
    let timer = 0;
    const read = async () => {
      try {
        const query = `limit=200&part_of=${job.id}${status ? `&status=${status}` : ""}`;
        const page = await request(`/v1/jobs?${query}`, { signal: controller.signal });
        setChildren(page.jobs);
        setNext(page.next_cursor);
        setProblem(null);
      } catch (error) {
        if (error.name === "AbortError") return;
        setProblem(error);
      }
      if (!ended) timer = setTimeout(read, POLL_MS);
    };
    read();
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [job.id, ended, status]);
  if (!isParent) return null;
  const act = (action) => async () => {
    try {
      onJob(await request(`/v1/batches/${job.id}/${action}`, { method: "POST" }));
      setProblem(null);
    } catch (error) {
      setProblem(error);
    }
  };
  return html`<section class="children" aria-label="Child jobs">
    <div class="section-head"><h2>${isBatch(job) ? "Rows" : "Steps"}</h2>
      ${isBatch(job) && !ended && (job.paused ? html`<${ActionButton} scope="submit" action=${act("resume")}>Resume<//>` : html`<${ActionButton} scope="submit" action=${act("pause")}>Pause<//>`)}
      ${isBatch(job) && html`<label class="inline">Show <select class="input small" value=${status} onChange=${(event) => setStatus(event.target.value)}>
        <option value="">all</option>${["failed", "running", "queued", "succeeded", "canceled"].map((one) => html`<option value=${one}>${one}</option>`)}</select></label>`}
    </div>
    <${ProblemBox} problem=${problem} />
    ${!isBatch(job) && html`<${PipelineGraph} steps=${body?.steps} children=${children || []} />`}
    ${children && children.length > 0 && html`<div class="table-scroll" tabindex="0" role="region" aria-label="Table of child jobs"><table class="table table-stack">
      <thead><tr><th scope="col">${isBatch(job) ? "Row" : "Step"}</th><th scope="col">Type</th><th scope="col">Status</th><th scope="col">Progress</th><th scope="col">Result</th></tr></thead>
      <tbody>${children.map((child) => html`<tr key=${child.id}><th scope="row"><${Link} to="/studio/jobs/${child.id}"><${UserText} text=${child.part || child.id.slice(0, 8)} limit=${80} /><//></th>
        <td>${typeName(child.type)}</td><td><${Status} status=${child.status} /></td><td>${Math.floor(child.progress.percent)} %</td>
        <td class="whole"><${Outcome} job=${child} /></td></tr>`)}</tbody></table></div>`}
    ${children && !children.length && html`<p class="quiet">${status ? `No row is ${status}.` : "No child job has started."}</p>`}
    <${FailedRows} rows=${job.result?.problems} />
    ${next && html`<p class="quiet">The newest 200 are shown. Filter by status, or read the table of results.</p>`}
  </section>`;
}
