// The verdict on a verified file: who signed it, whether it was changed, what it was made from, and which outputs it
// resembles. All texts of a manifest come from the file.

import { html } from "../lib/preact.js";
import { plain, words } from "../lib/format.js";
import { Link } from "../lib/router.js";
import { UserText } from "./basics.js";

const VERDICTS = {
  valid: ["good", "Unchanged, and signed by a trusted signer"],
  unknown_signer: ["warning", "Unchanged, signed by a signer that is not trusted here"],
  altered: ["error", "Changed after it was signed"],
  no_manifest: ["warning", "The file has no manifest"],
};
const MAX_DEPTH = 16;
const JOB = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function Verification({ result }) {
  const [kind, text] = VERDICTS[result.state] || ["warning", words(result.state)];
  return html`<div class="notice notice-${kind}"><h2>${text}</h2>
      ${result.problems.length > 0 && html`<ul class="plain">${result.problems.map((one) => html`<li><${UserText} text=${one} limit=${300} /></li>`)}</ul>`}
      <${Mark} mark=${result.mark} />
      ${result.found.map((one) => html`<p>${one.how === "file" ? "The same bytes as" : `Resembles (confidence ${one.confidence.toFixed(2)})`} <${UserText} text=${one.name} limit=${120} />,
        output of <${Link} to="/studio/jobs/${one.job}">job ${one.job.slice(0, 8)}<//></p>`)}</div>
    ${result.manifest && html`<${Manifest} manifest=${result.manifest} />`}`;
}

function Mark({ mark }) {
  if (!mark) return null;
  const found = [["picture", mark.picture], ["sound", mark.sound]].filter(([, part]) => part?.found).map(([name]) => name);
  return html`<p>${found.length ? `The ${found.join(" and the ")} ${found.length > 1 ? "carry" : "carries"} the imperceptible mark of this system.`
    : "No imperceptible mark of this system was found."}</p>`;
}

function Manifest({ manifest }) {
  const facts = Object.entries(manifest).filter(([, value]) => typeof value === "string" || typeof value === "number");
  const lists = [["Actions", manifest.actions], ["Source type", manifest.source_types]].filter(([, values]) => values?.length);
  return html`<h2>What the manifest states</h2>
    <dl class="facts">${facts.map(([name, value]) => html`<dt>${words(plain(name, 60))}</dt><dd><${UserText} text=${value} limit=${300} /></dd>`)}
      ${lists.map(([name, values]) => html`<dt>${name.toLowerCase()}</dt><dd><${UserText} text=${values.join(", ")} limit=${600} /></dd>`)}
      <${JobLink} facts=${manifest.facts} /></dl>
    ${manifest.ingredients?.length > 0 && html`<h3>Made from</h3><${Ingredients} ingredients=${manifest.ingredients} depth=${1} />`}`;
}

// The job that made a file, which this system may not have any more.
function JobLink({ facts }) {
  const job = facts?.job;
  if (typeof job !== "string" || !JOB.test(job)) return null;
  return html`<dt>job</dt><dd><${Link} to="/studio/jobs/${job}">${job.slice(0, 8)}<//></dd>`;
}

function Ingredients({ ingredients, depth }) {
  return html`<ul class="ingredients">${ingredients.map((one) => html`<li>
    <strong><${UserText} text=${one.title} limit=${120} /></strong> <span class="quiet"><${UserText} text=${one.relationship} limit=${60} />${one.media_type ? html`, <${UserText} text=${one.media_type} limit=${60} />` : ""}</span>
    ${one.sha256 && html` <code class="quiet">${plain(one.sha256, 12)}</code>`}
    ${one.problems.length > 0 && html` <span class="fault"><${UserText} text=${one.problems.join(", ")} limit=${200} /></span>`}
    ${one.manifest && html` <span class="quiet">signed by <${UserText} text=${one.manifest.signer} limit=${80} /></span>`}
    ${one.manifest?.ingredients?.length > 0 && depth < MAX_DEPTH && html`<${Ingredients} ingredients=${one.manifest.ingredients} depth=${depth + 1} />`}</li>`)}</ul>`;
}
