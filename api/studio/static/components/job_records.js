// Records of a job in folded sections, loaded when they are opened: log, timings, lineage, webhooks, request.

import { html, useEffect, useState } from "../lib/preact.js";
import { jobPath, request } from "../lib/api.js";
import { FINAL } from "../lib/job_events.js";
import { dateTime, duration, words } from "../lib/format.js";
import { ActionButton, CopyButton, Empty, Loading, ProblemBox, UserText } from "./basics.js";
import { LineageGraph } from "./lineage_graph.js";

const LOG_POLL_MS = 2000;
const MAX_LINES = 2000;

export function JobRecords({ job, body }) {
  const ended = FINAL.has(job.status);
  return html`<section class="records" aria-label="Records of the job">
    <${Section} title="Log" open=${!ended || job.status === "failed"}><${Log} job=${job} /><//>
    ${job.result?.timings_s && html`<${Section} title="Timings"><${Timings} seconds=${job.result.timings_s} /><//>`}
    ${job.status === "succeeded" && html`<${Section} title="Provenance and lineage"><${Lineage} id=${job.id} /><//>`}
    ${job.control.notify && html`<${Section} title="Webhook deliveries"><${Deliveries} id=${job.id} /><//>`}
    ${body && html`<${Section} title="Request"><${Json} value=${body} what="the request" /><//>`}
    ${job.result && html`<${Section} title="Result as JSON"><${Json} value=${job.result} what="the result" /><//>`}
  </section>`;
}

function Section({ title, open = false, children }) {
  const [shown, setShown] = useState(open);
  return html`<details class="group" open=${shown} onToggle=${(event) => setShown(event.target.open)}><summary>${title}</summary>${shown && children}</details>`;
}

function Json({ value, what }) {
  const text = JSON.stringify(value, null, 2);
  return html`<div class="json"><${CopyButton} text=${text} what=${what} />
    <pre class="code-block" tabindex="0" role="region" aria-label="JSON of ${what}"><code>${text.slice(0, 100_000)}</code></pre></div>`;
}

function Log({ job }) {
  const [lines, setLines] = useState(null);
  const [problem, setProblem] = useState(null);
  const ended = FINAL.has(job.status);
  useEffect(() => {
    const controller = new AbortController();
    let after = null;
    let timer = 0;
    const read = async () => {
      try {
        let page;
        do {
          page = await request(`${jobPath(job.id)}/logs?limit=200${after === null ? "" : `&after=${encodeURIComponent(after)}`}`, { signal: controller.signal });
          const first = after === null;
          after = page.next;
          const found = page.lines;
          setLines((now) => [...(first ? [] : now || []), ...found].slice(-MAX_LINES));
        } while (page.lines.length === 200);
        setProblem(null);
      } catch (error) {
        if (error.name === "AbortError") return;
        setProblem(error);
      }
      if (!ended) timer = setTimeout(read, LOG_POLL_MS);
    };
    read();
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [job.id, ended]);
  if (problem) return html`<${ProblemBox} problem=${problem} />`;
  if (!lines) return html`<${Loading} what="Loading the log" />`;
  if (!lines.length) return html`<${Empty} title=${ended ? "No log lines" : "No log lines yet"} />`;
  return html`<div class="log" tabindex="0" role="region" aria-label="Log lines"><ol class="plain">${lines.map((line) => html`<li class="log-${line.level}">
    <time datetime=${line.time}>${new Date(line.time).toLocaleTimeString()}</time> <span class="log-level">${line.level}</span>
    <${UserText} text=${line.message} limit=${4000} /></li>`)}</ol></div>`;
}

function Timings({ seconds }) {
  const entries = Object.entries(seconds).filter(([, value]) => typeof value === "number");
  const longest = Math.max(...entries.map(([, value]) => value), 0.001);
  return html`<table class="timings"><thead><tr><th scope="col">Phase</th><th scope="col">Time</th><th scope="col"><span class="hidden-text">Share</span></th></tr></thead>
    <tbody>${entries.map(([name, value]) => html`<tr><th scope="row">${words(name)}</th><td>${duration(value)}</td>
      <td><meter min="0" max=${longest} value=${value} aria-label="Share of ${words(name)}"></meter></td></tr>`)}</tbody></table>`;
}

function Lineage({ id }) {
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    const controller = new AbortController();
    request(`${jobPath(id)}/lineage?depth=5`, { signal: controller.signal })
      .then(setFound, (error) => error.name !== "AbortError" && setProblem(error));
    return () => controller.abort();
  }, [id]);
  if (problem?.code === "not_found") return html`<${Empty} title="No lineage was recorded" />`;
  if (problem) return html`<${ProblemBox} problem=${problem} />`;
  if (!found) return html`<${Loading} what="Loading the lineage" />`;
  const { lineage } = found;
  return html`<${LineageGraph} view=${found} />
    <dl class="facts">
      <dt>Program</dt><dd><${UserText} text=${`${lineage.program.name} ${lineage.program.version}, core ${lineage.program.core}`} /></dd>
      ${lineage.models.map((model) => html`<dt>Model</dt><dd><${UserText} text=${model.name} /> <code class="quiet">${(model.digest || "").slice(0, 16)}</code></dd>`)}
      ${lineage.outputs.map((file) => html`<dt>Output</dt><dd><${UserText} text=${file.name} /> <code class="quiet">sha256 ${file.sha256.slice(0, 16)}…</code>${file.signer ? html`, signed by <${UserText} text=${file.signer} />` : ""}</dd>`)}
      ${/^https?:\/\//.test(lineage.links.prefect || "") && html`<dt>Prefect</dt><dd><a href=${lineage.links.prefect} rel="noreferrer">flow run with its tasks</a></dd>`}
    </dl>`;
}

function Deliveries({ id }) {
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState(null);
  const read = () => request(`${jobPath(id)}/deliveries`).then((answer) => setFound(answer.deliveries), setProblem);
  useEffect(() => {
    read();
  }, [id]);
  const replay = async (webhook) => {
    try {
      await request(`${jobPath(id)}/deliveries/${encodeURIComponent(webhook)}/replay`, { method: "POST" });
      await read();
    } catch (error) {
      setProblem(error);
    }
  };
  if (!found) return html`<${ProblemBox} problem=${problem} />${!problem && html`<${Loading} what="Loading the deliveries" />`}`;
  if (!found.length) return html`<${Empty} title="Nothing was sent yet" />`;
  return html`<${ProblemBox} problem=${problem} /><ul class="plain">${found.map((one) => html`<li class="delivery">
    <strong>${one.event}</strong> <span>${one.delivered ? "delivered" : one.dead ? "dead letter" : "not delivered yet"}</span>
    <${ActionButton} kind="small" scope="submit" action=${() => replay(one.webhook_id)}>Send again<//>
    <ul>${one.attempts.map((attempt) => html`<li>attempt ${attempt.attempt}: ${attempt.outcome}${attempt.status_code ? ` ${attempt.status_code}` : ""} ${attempt.sent_at ? dateTime(attempt.sent_at) : ""} <${UserText} text=${attempt.reason || ""} /></li>`)}</ul></li>`)}</ul>`;
}
