// Lineage as a graph: inputs on the left, the job, its outputs on the right; earlier jobs link to their page.

import { html } from "../lib/preact.js";
import { plain, typeName } from "../lib/format.js";
import { Link } from "../lib/router.js";
import { UserText } from "./basics.js";

const shortValue = (value) => (typeof value === "object" && value !== null ? value.name || JSON.stringify(value) : String(value));
const jobOf = (reference) => (String(reference).match(/^job:\/\/([0-9a-f-]{36})/) || [])[1];

export function LineageGraph({ view }) {
  const { lineage, ancestors } = view;
  const earlier = ancestors.filter((one) => one.lineage);
  return html`<div class="lineage" role="group" aria-label="Lineage: inputs, job and outputs">
    ${earlier.length > 0 && html`<ul class="lineage-column" aria-label="Earlier jobs">${earlier.map((one) => html`<li class="node node-job">
      <${Link} to="/studio/jobs/${one.job}">${typeName(one.lineage.type)}<//> <span class="quiet">${one.depth} back, ${one.status}</span></li>`)}</ul>`}
    <ul class="lineage-column" aria-label="Inputs">${lineage.inputs.map((file) => html`<li class="node" title=${plain(file.given)}>
      <span class="node-kind">${file.fields.join(", ")}</span>
      ${jobOf(file.given) ? html`<${Link} to="/studio/jobs/${jobOf(file.given)}"><${UserText} text=${file.name} limit=${80} /><//>` : html`<${UserText} text=${file.name} limit=${80} />`}
      <code class="quiet">${file.sha256.slice(0, 12)}…</code></li>`)}
      ${!lineage.inputs.length && html`<li class="node"><span class="node-kind">request</span>text</li>`}</ul>
    <ul class="lineage-column" aria-label="Job"><li class="node node-job"><span class="node-kind">job</span>${typeName(lineage.type)}
      ${Object.entries(lineage.settled).slice(0, 4).map(([name, value]) => html`<span class="quiet">${name} <${UserText} text=${shortValue(value)} limit=${60} /></span>`)}</li></ul>
    <ul class="lineage-column" aria-label="Outputs">${lineage.outputs.map((file) => html`<li class="node"><span class="node-kind">output</span><${UserText} text=${file.name} limit=${80} />
      <code class="quiet">${file.sha256.slice(0, 12)}…</code></li>`)}</ul>
  </div>`;
}
