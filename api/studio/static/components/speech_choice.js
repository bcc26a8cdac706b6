// The speech of a lip-sync job: a recording, or a text that a voice speaks.

import { html, useEffect, useState } from "../lib/preact.js";
import { request } from "../lib/api.js";
import { SPOKEN, spokenFields } from "../lib/spoken_text.js";
import { Loading, ProblemBox } from "./basics.js";
import { Field } from "./form_fields.js";

export function SpeechChoice({ field, form, onFields }) {
  const spoken = form.values[SPOKEN] !== undefined;
  const [fields, setFields] = useState(null);
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    if (!spoken || fields) return;
    request("/v1/schemas/speech").then((found) => {
      const made = spokenFields(found.request);
      setFields(made);
      onFields(made);
    }, setProblem);
  }, [spoken]);
  const choose = (event) => {
    if (event.target.value === "text") form.change([SPOKEN], {});
    else form.change([SPOKEN], undefined);
  };
  const source = html`<fieldset class="segments"><legend class="hidden-text">Where the speech comes from</legend>
      ${[["recording", "Recording"], ["text", "Text"]].map(([name, title]) => html`<label class="segment">
        <input type="radio" name="speech-source" value=${name} checked=${spoken === (name === "text")} onChange=${choose} /><span>${title}</span></label>`)}</fieldset>`;
  return html`<div class="speech-choice">
    ${!spoken && html`<${Field} field=${field} form=${form} extra=${source} />`}
    ${spoken && html`<${ProblemBox} problem=${problem} />`}
    ${spoken && !fields && !problem && html`<${Loading} what="Loading the voices" />`}
    ${spoken && fields && fields.map((one) => html`<${Field} key=${one.pointer} field=${one} form=${form} extra=${one.name === "text" && source} />`)}
    ${spoken && html`<p class="help">The request is then a pipeline of two jobs: speech, and lip-sync with its result.</p>`}
  </div>`;
}
