// The verdict on a verified file: who signed it, whether it was changed, and which outputs it resembles.

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

export function Verification({ result }) {
  const [kind, text] = VERDICTS[result.state] || ["warning", words(result.state)];
  const manifest = result.manifest || {};
  const facts = Object.entries(manifest).filter(([, value]) => typeof value === "string" || typeof value === "number");
  return html`<div class="notice notice-${kind}"><h2>${text}</h2>
    ${result.problems.length > 0 && html`<ul class="plain">${result.problems.map((one) => html`<li><${UserText} text=${one} limit=${300} /></li>`)}</ul>`}
    ${facts.length > 0 && html`<dl class="facts">${facts.map(([name, value]) => html`<dt>${words(plain(name, 60))}</dt><dd><${UserText} text=${value} limit=${300} /></dd>`)}</dl>`}
    ${result.found.map((one) => html`<p>${one.how === "file" ? "The same bytes as" : `Resembles (confidence ${one.confidence.toFixed(2)})`} <${UserText} text=${one.name} limit=${120} />,
      output of <${Link} to="/studio/jobs/${one.job}">job ${one.job.slice(0, 8)}<//></p>`)}
  </div>`;
}
