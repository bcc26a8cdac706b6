// Job view: state by server-sent events, actions, the result beside its source, and records of the job.

import { html, useEffect, useRef, useState } from "../lib/preact.js";
import { download, filePath, jobPath, request } from "../lib/api.js";
import { FINAL, watchJob } from "../lib/job_events.js";
import { STATUS_TEXT, ago, dateTime, duration, inputNames, typeName } from "../lib/format.js";
import { rooted } from "../lib/root.js";
import { Link, navigate } from "../lib/router.js";
import { ActionButton, CopyButton, Loading, ProblemBox, Status, UserText, announce } from "../components/basics.js";
import { valuesOf } from "../lib/spoken_text.js";
import { JobProgress } from "../components/job_progress.js";
import { kindOf, outputNames } from "../lib/outputs.js";
import { ResultView } from "../components/result_view.js";
import { JobRecords } from "../components/job_records.js";
import { ChildJobs } from "../components/child_jobs.js";

export function JobView({ id }) {
  const [job, setJob] = useState(null);
  const [body, setBody] = useState(null);
  const [problem, setProblem] = useState(null);
  const [connection, setConnection] = useState("live");
  const status = useRef("");

  useEffect(() => watchJob(id, {
    onJob: (next) => {
      if (status.current && status.current !== next.status) announce(`The job is ${STATUS_TEXT[next.status].toLowerCase()}`);
      status.current = next.status;
      setJob(next);
    },
    onState: setConnection,
    onProblem: setProblem,
  }), [id]);
  useEffect(() => {
    const controller = new AbortController();
    request(`${jobPath(id)}/request`, { signal: controller.signal }).then((found) => setBody(found.body), () => {});
    return () => controller.abort();
  }, [id]);

  if (!job) return html`<h1>Job</h1><${ProblemBox} problem=${problem}><p><${Link} to="/studio/jobs">Show all jobs<//></p><//>${!problem && html`<${Loading} what="Loading the job" />`}`;
  return html`<article class="job">
    <${JobHead} job=${job} body=${body} onJob=${setJob} onProblem=${setProblem} />
    <${ProblemBox} problem=${problem} />
    ${connection === "retrying" && html`<p class="notice" role="status">The connection broke. The page connects again by itself.</p>`}
    ${!FINAL.has(job.status) && html`<${JobProgress} job=${job} />`}
    ${job.error && html`<${JobError} job=${job} />`}
    ${job.status === "canceled" && html`<p class="notice">The job was canceled. Its finished steps stay in the cache: running it again is faster.</p>`}
    ${job.status === "succeeded" && html`<${ResultView} job=${job} body=${body} />`}
    <${ChildJobs} job=${job} body=${body} onJob=${setJob} />
    <${JobRecords} job=${job} body=${body} />
  </article>`;
}

function JobHead({ job, body, onJob, onProblem }) {
  const attempt = (action) => async () => {
    onProblem(null);
    try {
      await action();
    } catch (error) {
      onProblem(error);
    }
  };
  // the answer is shown at once: the stream sends no event for a pause or a request to cancel
  const cancel = attempt(async () => onJob(await request(`${jobPath(job.id)}/cancel`, { method: "POST" })));
  const retry = attempt(async () => {
    const next = await request(`${jobPath(job.id)}/retry`, { method: "POST" });
    navigate(`/studio/jobs/${next.id}`);
  });
  const retryBatch = attempt(async () => {
    const next = await request(`/v1/batches/${job.id}/retry`, { method: "POST" });
    navigate(`/studio/jobs/${next.id}`);
  });
  const incompleteBatch = job.status === "succeeded" && (job.result?.failed > 0 || job.result?.canceled > 0);
  const [name] = outputNames(job);
  const ended = FINAL.has(job.status);
  const mayHelp = !job.error || job.error.retryable;
  const canRetry = ["failed", "canceled", "aborted"].includes(job.status);
  return html`<header class="job-head">
    <div class="job-title"><h1>${typeName(job.type)}</h1><${Status} status=${job.status} />
      ${inputNames(job) && html`<span class="job-inputs"><${UserText} text=${inputNames(job)} limit=${160} /></span>`}
      ${job.cancel_requested && !ended && html`<span class="quiet">is being canceled</span>`}</div>
    <p class="job-facts"><code>${job.id}</code> <${CopyButton} text=${`job://${job.id}`} what="job://ID, by which other jobs use the result" label="Copy reference" />
      ${job.created_at && html`<span title=${dateTime(job.created_at)}>created ${ago(job.created_at)}</span>`}
      ${job.started_at && job.ended_at && html`<span>ran ${duration((new Date(job.ended_at) - new Date(job.started_at)) / 1000)}</span>`}
      ${/^https?:\/\//.test(job.prefect_url || "") && html`<a href=${job.prefect_url} rel="noreferrer">Prefect run</a>`}
      ${job.retry_of && html`<span>retry of <${Link} to="/studio/jobs/${job.retry_of}">${job.retry_of.slice(0, 8)}<//></span>`}
      ${job.part_of && html`<span>part <${UserText} text=${job.part} limit=${60} /> of <${Link} to="/studio/jobs/${job.part_of}">${job.part_of.slice(0, 8)}<//></span>`}</p>
    ${(job.tags.length > 0 || Object.keys(job.metadata).length > 0) && html`<p class="tags">
      ${job.tags.map((tag) => html`<span class="tag"><${UserText} text=${tag} /></span>`)}
      ${Object.entries(job.metadata).map(([key, value]) => html`<span class="tag"><${UserText} text=${key} />: <${UserText} text=${value} limit=${120} /></span>`)}</p>`}
    <div class="actions">
      ${!ended && html`<${ActionButton} kind="danger" scope="cancel" action=${cancel} disabled=${job.cancel_requested}>Cancel<//>`}
      ${name && html`<${ActionButton} kind="primary" action=${attempt(() => download(filePath(job.id, name), name))}>Download<//>`}
      ${canRetry && html`<${ActionButton} kind=${mayHelp ? "primary" : ""} scope="submit" action=${retry}>Retry<//>`}
      ${incompleteBatch && html`<${ActionButton} scope="submit" action=${retryBatch}>Retry failed rows<//>`}
      <${Link} class="button ${canRetry && !mayHelp ? "primary" : ""}" to="/studio/new?type=${valuesOf(job.type, body) ? "lip_sync" : job.type}&from=${job.id}">Again with changes<//>
      ${name && ["video", "audio", "image"].includes(kindOf(name)) && html`<${Link} class="button" to="/studio/new?type=verify&media=job://${job.id}">Verify<//>`}
    </div>
  </header>`;
}

function JobError({ job }) {
  return html`<div class="notice notice-error" role="alert">
    <p><a href=${rooted(`/docs/problems#${job.error.code}`)}><code><${UserText} text=${job.error.code} limit=${80} /></code></a> <${UserText} text=${job.error.message} limit=${2000} /></p>
    <p class="quiet">${job.error.retryable ? "A retry may succeed." : "A retry gives the same error unless the cause is removed."}</p>
  </div>`;
}
