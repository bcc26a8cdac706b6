// Job list: filters in the address, pages, and a refresh while the list is open.

import { html, useEffect, useState } from "../lib/preact.js";
import { request } from "../lib/api.js";
import { STATUS_TEXT, ago, dateTime, duration, inputNames, typeName } from "../lib/format.js";
import { FINAL } from "../lib/job_events.js";
import { Link, navigate } from "../lib/router.js";
import { Empty, Loading, ProblemBox, Status, UserText } from "../components/basics.js";
import { Thumbnail } from "../components/thumbnail.js";
import { TypedInput } from "../components/typed_input.js";
import { outputNames } from "../lib/outputs.js";

const PAGE_SIZE = 50;
const REFRESH_MS = 4000;
const FILTERS = ["status", "type", "search", "tag", "created_after", "cursor"];
const PRESETS = [["All", ""], ["Lip-sync", "lip_sync"], ["Portraits", "portrait"], ["Speech", "speech"], ["Batches", "batch"], ["Pipelines", "pipeline"]];
const JOB_ID = /^(job:\/\/)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function Jobs({ query }) {
  const [page, setPage] = useState(null);
  const [types, setTypes] = useState([]);
  const [problem, setProblem] = useState(null);
  const place = query.toString();
  useEffect(() => {
    request("/v1/schemas").then((found) => setTypes(found.types), () => {});
  }, []);
  useEffect(() => {
    const controller = new AbortController();
    let timer = 0;
    const read = async () => {
      if (!document.hidden) {
        try {
          setPage(await request(`/v1/jobs?${apiQuery(query)}`, { signal: controller.signal }));
          setProblem(null);
        } catch (error) {
          if (error.name === "AbortError") return;
          setProblem(error);
        }
      }
      timer = setTimeout(read, REFRESH_MS);
    };
    read();
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [place]);
  const filtered = FILTERS.slice(0, 5).some((name) => query.get(name));
  return html`<section class="list-view">
    <h1>Jobs</h1>
    <ul class="presets" aria-label="Kinds of jobs">${PRESETS.map(([title, type]) => html`<li><${Link} to=${`/studio/jobs${type ? `?type=${type}` : ""}`}
      aria-current=${(query.get("type") || "") === type ? "page" : undefined}>${title}<//></li>`)}</ul>
    <${Filters} query=${query} types=${types} />
    <${ProblemBox} problem=${problem} />
    ${!page && !problem && html`<${Loading} what="Loading jobs" />`}
    ${page && (page.jobs.length ? html`<${Table} jobs=${page.jobs} />` : filtered || query.get("cursor")
      ? html`<${Empty} title="No job fits these filters"><${Link} class="button" to="/studio/jobs">Show all jobs<//><//>`
      : html`<${Empty} title="No jobs yet"><p>A job makes a video, a voice or a text from your files.</p><${Link} class="button primary" to="/studio/new">New job<//><//>`)}
    ${page && html`<nav class="actions" aria-label="Pages of the list">
      ${query.get("cursor") && html`<${Link} class="button" to=${address(query, { cursor: null })}>Newest<//>`}
      ${page.next_cursor && html`<${Link} class="button" to=${address(query, { cursor: page.next_cursor })}>Older<//>`}</nav>`}
  </section>`;
}

function apiQuery(query) {
  const sent = new URLSearchParams({ limit: PAGE_SIZE });
  for (const name of FILTERS) {
    if (!query.get(name)) continue;
    const value = query.get(name);
    sent.set(name, name === "created_after" ? new Date(`${value}T00:00:00`).toISOString() : value);
  }
  return sent;
}

function address(query, changes) {
  const next = new URLSearchParams(query);
  for (const [name, value] of Object.entries(changes)) {
    if (value) next.set(name, value);
    else next.delete(name);
  }
  const text = next.toString();
  return `/studio/jobs${text ? `?${text}` : ""}`;
}

function Filters({ query, types }) {
  const filter = (name) => (text) => navigate(address(query, { [name]: text, cursor: null }));
  const set = (name) => (event) => filter(name)(event.target.value);
  const typed = (name) => ({ value: query.get(name) || undefined, on: "onChange", read: (event) => event.target.value.trim() || undefined, set: filter(name) });
  const search = (text) => {
    if (JOB_ID.test(text)) navigate(`/studio/jobs/${text.replace("job://", "").toLowerCase()}`);
    else filter("search")(text);
  };
  return html`<div class="filters" role="search">
    <div class="field"><label class="label" for="filter-status">Status</label><select id="filter-status" class="input" onChange=${set("status")}>
      <option value="">any</option>${Object.entries(STATUS_TEXT).map(([name, text]) => html`<option value=${name} selected=${query.get("status") === name}>${text}</option>`)}</select></div>
    <div class="field"><label class="label" for="filter-type">Type</label><select id="filter-type" class="input" onChange=${set("type")}>
      <option value="">any</option>${types.map((name) => html`<option value=${name} selected=${query.get("type") === name}>${typeName(name)}</option>`)}</select></div>
    <div class="field"><label class="label" for="filter-search">File name or job id</label><${TypedInput} id="filter-search" class="input" type="search" dir="auto" maxlength="200" ...${typed("search")} set=${search} /></div>
    <div class="field"><label class="label" for="filter-tag">Tag</label><${TypedInput} id="filter-tag" class="input" type="search" dir="auto" ...${typed("tag")} /></div>
    <div class="field"><label class="label" for="filter-day">Created since</label><${TypedInput} id="filter-day" class="input" type="date" ...${typed("created_after")} /></div>
  </div>`;
}

function Table({ jobs }) {
  return html`<div class="table-scroll" tabindex="0" role="region" aria-label="Jobs"><table class="table jobs-table">
    <thead><tr><td></td><th scope="col">Job</th><th scope="col">Status</th><th scope="col">Files</th><th scope="col">Created</th><th scope="col">Time</th><th scope="col">Tags</th></tr></thead>
    <tbody>${jobs.map((job) => html`<${Row} key=${job.id} job=${job} />`)}</tbody></table></div>`;
}

function Row({ job }) {
  const [name] = outputNames(job);
  const running = job.status === "running";
  const inputs = inputNames(job);
  const outcome = name || job.error?.message;
  return html`<tr>
    <td class="picture"><${Thumbnail} job=${job} /></td>
    <th scope="row"><${Link} to="/studio/jobs/${job.id}">${typeName(job.type)}<//> <code class="quiet">${job.id.slice(0, 8)}</code></th>
    <td><${Status} status=${job.status} />${running ? html` <span class="quiet">${Math.floor(job.progress.percent)} %</span>` : ""}${job.queue_position ? html` <span class="quiet">position ${job.queue_position}</span>` : ""}</td>
    <td class="wide">${inputs && html`<span class="row-name quiet"><${UserText} text=${inputs} limit=${120} /></span>`}${outcome && html`<${UserText} text=${outcome} limit=${160} />`}${job.part_of && html` <span class="quiet">part <${UserText} text=${job.part} limit=${60} /> of <${Link} to="/studio/jobs/${job.part_of}">${job.part_of.slice(0, 8)}<//></span>`}</td>
    <td><time datetime=${job.created_at} title=${dateTime(job.created_at)}>${ago(job.created_at)}</time></td>
    <td>${FINAL.has(job.status) && job.started_at && job.ended_at ? duration((new Date(job.ended_at) - new Date(job.started_at)) / 1000) : ""}</td>
    <td class="tags">${job.tags.slice(0, 4).map((tag) => html`<span class="tag"><${UserText} text=${tag} limit=${64} /></span>`)}</td>
  </tr>`;
}
