// Progress of an unfinished job: phases, percent, counted units, queue position and estimated end.

import { html, useEffect, useState } from "../lib/preact.js";
import { capitalized, duration, words } from "../lib/format.js";
import { PreviewFrame } from "./preview_frame.js";

const VIDEO_PHASES = ["fetch", "speak", "prepare", "features", "render", "encode", "join", "sign", "upload"];
const PHASES = {
  lip_sync: VIDEO_PHASES.filter((one) => one !== "speak"),
  portrait: VIDEO_PHASES,
  persona_sync: ["steps"],
  pipeline: ["steps"],
  batch: ["steps"],
  render_new: ["steps"],
  speech: ["fetch", "speak", "encode", "sign", "upload"],
  prepare_avatar: ["fetch", "prepare"],
};
const UNITS = { render: "frames", encode: "frames", steps: "jobs", speak: "sentences" };

export function JobProgress({ job }) {
  const { percent, done, total } = job.progress;
  const running = job.status === "running";
  const known = PHASES[job.type] || [];
  const phases = job.phase && !known.includes(job.phase) ? [...known, job.phase] : known;
  const current = phases.indexOf(job.phase);
  return html`<section class="progress ${job.progress.preview ? "progress-preview" : ""}" aria-label="Progress">
    <${PreviewFrame} job=${job} />
    <div class="progress-line">
      <progress max="100" value=${running ? percent : 0} aria-label="Progress of the job"></progress>
      <span class="progress-percent">${Math.floor(percent)} %</span>
    </div>
    <p class="progress-text">
      ${running ? html`<strong>${capitalized(words(job.phase || "starting"))}</strong>${total > 0 ? html` <span>${done} of ${total} ${UNITS[job.phase] || ""}</span>` : ""}`
        : html`<strong>${job.status === "scheduled" ? "Scheduled" : "Queued"}</strong>${job.queue_position ? ` at position ${job.queue_position}` : ""}`}
      <${Remaining} eta=${job.eta} />
      ${job.paused && html`<span>paused</span>`}
    </p>
    ${phases.length > 1 && html`<ol class="phases">${phases.map((phase, index) => html`<li
      class=${index < current ? "phase-done" : index === current ? "phase-now" : ""}
      aria-current=${index === current ? "step" : undefined}>${words(phase)}</li>`)}</ol>`}
  </section>`;
}

// Counts down between two events of the job.
function Remaining({ eta }) {
  const [since, setSince] = useState(0);
  useEffect(() => {
    const start = performance.now();
    setSince(0);
    const timer = setInterval(() => setSince((performance.now() - start) / 1000), 1000);
    return () => clearInterval(timer);
  }, [eta?.p50_s]);
  if (!eta) return null;
  const left = eta.p50_s - since;
  return html`<span>${left > 1 ? `about ${duration(Math.round(left)).replace(".0", "")} left` : "ready soon"}</span>`;
}
