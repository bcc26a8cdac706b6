// The steps of a pipeline as a graph: columns by dependency, each step with its state.

import { html } from "../lib/preact.js";
import { typeName } from "../lib/format.js";
import { Link } from "../lib/router.js";
import { Status, UserText } from "./basics.js";

// Returns the steps in columns: a step stands right of all steps whose results it uses.
export function columnsOf(steps) {
  const names = new Set(steps.map((step) => step.name));
  const needs = Object.fromEntries(steps.map((step) => [step.name,
    [...JSON.stringify(step.job || {}).matchAll(/job:\/\/([a-z][a-z0-9_]{0,31})/g)].map((match) => match[1]).filter((name) => names.has(name) && name !== step.name)]));
  const depth = {};
  const depthOf = (name, seen) => {
    if (depth[name] === undefined) {
      depth[name] = seen.has(name) ? 0 : Math.max(-1, ...needs[name].map((one) => depthOf(one, new Set([...seen, name])))) + 1;
    }
    return depth[name];
  };
  const columns = [];
  for (const step of steps) {
    const index = depthOf(step.name, new Set());
    columns[index] = [...(columns[index] || []), { ...step, needs: needs[step.name] }];
  }
  return columns.map((column) => column || []);
}

export function PipelineGraph({ steps, children }) {
  if (!Array.isArray(steps)) return null;
  const jobs = Object.fromEntries(children.map((child) => [child.part, child]));
  return html`<ol class="lineage" aria-label="Steps of the pipeline">${columnsOf(steps).map((column) => html`<li class="lineage-column"><ul class="plain">
    ${column.map((step) => html`<li class="node node-job"><span class="node-kind">${typeName(step.type)}</span>
      ${jobs[step.name] ? html`<${Link} to="/studio/jobs/${jobs[step.name].id}"><${UserText} text=${step.name} /><//> <${Status} status=${jobs[step.name].status} />`
        : html`<${UserText} text=${step.name} /> <span class="quiet">waiting</span>`}
      ${step.needs.length > 0 && html`<span class="quiet">uses ${step.needs.join(", ")}</span>`}</li>`)}</ul></li>`)}</ol>`;
}
