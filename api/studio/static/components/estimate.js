// The result of a dry run: what will be read, the place in the queue, and when the job would be ready.

import { html } from "../lib/preact.js";
import { bytes, duration } from "../lib/format.js";
import { UserText } from "./basics.js";

export function Estimate({ estimate }) {
  const isBatch = estimate.type === "batch";
  return html`<section class="notice ${estimate.valid ? "notice-good" : "notice-error"}" aria-label="Result of the check">
    <h2>${estimate.valid ? "This job can run" : "This job cannot run"}</h2>
    <dl class="facts">
      ${isBatch ? html`<dt>Rows</dt><dd>${estimate.total}, ${estimate.jobs} different</dd>`
        : html`<dt>Place in the queue</dt><dd>${estimate.queue_position}</dd>`}
      <dt>Run time</dt><dd>${estimate.run_s ? `${duration(estimate.run_s.p50_s)}, at most ${duration(estimate.run_s.p90_s)} in 9 of 10` : "unknown: no job of this type has finished"}</dd>
      ${estimate.eta && html`<dt>Ready in</dt><dd>${duration(estimate.eta.p50_s)}</dd>`}
    </dl>
    ${(estimate.inputs || []).length > 0 && html`<h3>Inputs</h3><ul class="plain">
      ${estimate.inputs.map((input) => html`<li><code>${input.pointer.slice(2)}</code> <${UserText} text=${input.name} /> <span class="quiet">${bytes(input.size)}</span></li>`)}</ul>`}
    ${(estimate.bad_rows || []).length > 0 && html`<h3>Invalid rows</h3><ul class="plain">
      ${estimate.bad_rows.map((row) => html`<li>Row ${row.row} <${UserText} text=${row.id} />: ${row.faults.map((fault) => html`<${UserText} text=${`${fault.pointer || ""} ${fault.detail || fault.message || ""}`} /> `)}</li>`)}</ul>`}
    ${(estimate.warnings || []).length > 0 && html`<h3>Warnings</h3><ul class="plain">
      ${estimate.warnings.map((text) => html`<li><${UserText} text=${text} limit=${600} /></li>`)}</ul>`}
  </section>`;
}
