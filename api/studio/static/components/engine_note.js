// What a chosen engine lacks on this installation, with the command that installs it.

import { html, useEffect, useState } from "../lib/preact.js";
import { request } from "../lib/api.js";
import { UserText } from "./basics.js";

let engines = null;

export function EngineNote({ name }) {
  const [found, setFound] = useState(null);
  useEffect(() => {
    engines = engines || request("/v1/models").then((answer) => answer.engines);
    engines.then(setFound, () => {
      engines = null;
    });
  }, []);
  const engine = found?.find((one) => one.name === name);
  const chosen = found?.find((one) => one.default);
  if (name === "auto" && chosen) return html`<p class="help">On this installation auto is ${chosen.name}.</p>`;
  return engine?.problem ? html`<p class="notice notice-warning"><${UserText} text=${engine.problem} limit=${600} /></p>` : null;
}
