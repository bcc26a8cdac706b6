// The quality card of a rendered video: its score, and each figure with its limit and grade.

import { html } from "../lib/preact.js";
import { plain, words } from "../lib/format.js";

export function QualityCard({ card }) {
  const figures = Object.entries(card.figures);
  const judged = card.score !== null && card.score !== undefined;
  return html`<details class="group quality" open=${card.defects.length > 0}>
    <summary>Quality card ${judged && html`<span class="status ${card.score < 0.5 ? "status-failed" : "status-succeeded"}">score ${card.score.toFixed(2)}</span>`}</summary>
    <p class="help">${judged ? "The score is the lowest grade; 0.5 is the limit of each figure." : "No face was visible in the measured frames."}
      ${" "}Measured: ${card.with_face} of ${card.frames} frames, expected movement from ${card.speech}.</p>
    ${figures.length > 0 && html`<div class="table-scroll" tabindex="0" role="region" aria-label="Figures of the quality card"><table class="table">
      <thead><tr><th scope="col">Figure</th><th scope="col">Value</th><th scope="col">Limit</th><th scope="col">Grade</th></tr></thead>
      <tbody>${figures.map(([name, figure]) => html`<tr><th scope="row">${words(plain(name, 60))} ${card.defects.includes(name) && html`<span class="status status-failed">defect</span>`}</th>
        <td>${number(figure.value)} ${plain(figure.unit, 20)}</td><td>${figure.limit === null ? "" : number(figure.limit)}</td>
        <td>${figure.grade === null ? html`<span class="quiet">not judged</span>` : html`<meter min="0" max="1" low="0.5" optimum="1" value=${figure.grade} aria-label="Grade of ${words(plain(name, 60))}"></meter> ${figure.grade.toFixed(2)}`}</td></tr>`)}</tbody></table></div>`}
  </details>`;
}

const number = (value) => (Math.abs(value) >= 10 ? value.toFixed(0) : value.toPrecision(2));
