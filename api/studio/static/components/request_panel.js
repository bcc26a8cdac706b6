// The request of the form as JSON, curl and Python, kept in step with the form.

import { html, useState } from "../lib/preact.js";
import { apiKey } from "../lib/api.js";
import { ROOT } from "../lib/root.js";
import { curlText, jsonText, pythonText } from "../lib/request_text.js";
import { CopyButton, Tabs } from "./basics.js";

export function RequestText({ type, body }) {
  const [form, setForm] = useState("curl");
  const text = {
    json: () => jsonText(body),
    curl: () => curlText(location.origin + ROOT, type, body, Boolean(apiKey())),
    python: () => pythonText(location.origin + ROOT, type, body, Boolean(apiKey())),
  }[form]();
  return html`<section class="request" aria-label="The same request for programs">
    <div class="request-head">
      <h2>The same request</h2>
      <${CopyButton} text=${text} what="the request" />
    </div>
    <${Tabs} label="Form of the request" selected=${form} onSelect=${setForm}
      tabs=${[["curl", "curl"], ["json", "JSON"], ["python", "Python"]]} />
    <pre class="code-block" tabindex="0" role="region" aria-label="Request as ${form}"><code>${text}</code></pre>
  </section>`;
}
