// Settings of this browser: API key of the tab, and colours.

import { html, useState } from "../lib/preact.js";
import { apiKey, request, setApiKey } from "../lib/api.js";
import { dateTime } from "../lib/format.js";
import { ProblemBox } from "../components/basics.js";
import { setTheme, theme } from "../lib/theme.js";

function Caller({ caller }) {
  return html`<div class="notice notice-good" role="status"><p>${caller.hasKey ? "The server accepts this key." : "This server requires no key."}</p>
    ${caller.hasKey && html`<dl class="facts"><dt>Name</dt><dd>${caller.name}</dd><dt>Tenant</dt><dd>${caller.tenant || "none: jobs of all tenants"}</dd>
      <dt>Scopes</dt><dd>${caller.scopes.join(", ")}</dd><dt>Expires</dt><dd>${caller.expires_at ? dateTime(caller.expires_at) : "never"}</dd></dl>`}</div>`;
}

export function Settings() {
  const [key, setKey] = useState(apiKey());
  const [saved, setSaved] = useState(null);
  const [problem, setProblem] = useState(null);
  const [colours, setColours] = useState(theme());
  const save = async (event) => {
    event.preventDefault();
    setApiKey(key.trim());
    setProblem(null);
    setSaved(null);
    try {
      setSaved({ ...await request("/v1/key"), hasKey: Boolean(key.trim()) });
    } catch (error) {
      setProblem(error);
    }
  };
  const choose = (event) => {
    setTheme(event.target.value);
    setColours(event.target.value);
  };
  return html`<section class="settings">
    <h1>Settings</h1>
    <form class="card" onSubmit=${save}>
      <h2>API key</h2>
      <div class="field"><label class="label" for="api-key">Key</label>
        <input id="api-key" class="input" type="password" autocomplete="off" spellcheck="false" value=${key}
          aria-describedby="api-key-help" onInput=${(event) => setKey(event.target.value)} />
        <p class="help" id="api-key-help">The key stays in this tab until it is closed. Leave it empty if the server requires none.${" "}
          <code>musetalk keys add NAME</code> creates one.</p></div>
      <div class="actions"><button class="button primary" type="submit">Save and test</button></div>
      ${saved && html`<${Caller} caller=${saved} />`}
      <${ProblemBox} problem=${problem} />
    </form>
    <div class="card">
      <h2>Colours</h2>
      <div class="field"><label class="label" for="theme">Theme</label>
        <select id="theme" class="input" value=${colours} onChange=${choose}>
          ${[["system", "as the system"], ["light", "light"], ["dark", "dark"]].map(([name, text]) => html`<option value=${name} selected=${name === colours}>${text}</option>`)}
        </select></div>
    </div>
  </section>`;
}
