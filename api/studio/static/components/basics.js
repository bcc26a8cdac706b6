// Small components that all views share: user text, status, problems, buttons, empty and loading states.

import { html, useEffect, useRef, useState } from "../lib/preact.js";
import { STATUS_TEXT, plain } from "../lib/format.js";
import { useMissingScope } from "../lib/scopes.js";
import { rooted } from "../lib/root.js";
import { Link } from "../lib/router.js";

// Text that somebody else wrote. <bdi> keeps its direction from affecting the text around it.
export const UserText = ({ text, limit }) => html`<bdi class="user-text">${plain(text, limit)}</bdi>`;

// Text of the API's own description, whose `names` are set as code.
export const Described = ({ text }) => text.split("`").map((part, index) => (index % 2 ? html`<code>${part}</code>` : part));

export const Status = ({ status }) =>
  html`<span class="status status-${status}">${STATUS_TEXT[status] || status}</span>`;

export function ProblemBox({ problem, children }) {
  if (!problem) return null;
  return html`<div class="notice notice-error" role="alert">
    <p><strong>${headline(problem)}</strong> <${UserText} text=${problem.message} limit=${2000} /></p>
    ${problem.code === "unauthorized" && html`<p><${Link} to="/studio/settings">Enter an API key<//></p>`}
    ${children}
    ${problem.requestId && html`<p class="quiet">Request ${problem.requestId}</p>`}
  </div>`;
}

function headline(problem) {
  if (problem.code === "offline") return "No connection.";
  if (problem.code === "unauthorized") return "This server requires an API key.";
  if (problem.code === "forbidden") return "This API key does not allow it.";
  return html`<a href=${rooted(`/docs/problems#${problem.code}`)}><code>${plain(problem.code, 60)}</code></a>`;
}

export const Loading = ({ what = "Loading" }) => html`<p class="loading" role="status">${what}…</p>`;

export const Empty = ({ title, children }) =>
  html`<div class="empty"><p class="empty-title">${title}</p>${children}</div>`;

// A button that shows that its action runs, and refuses a second press meanwhile. Without the scope that the
// action needs it cannot be pressed, and says why.
export function ActionButton({ action, children, kind = "", disabled = false, title, scope, label }) {
  const [busy, setBusy] = useState(false);
  const missing = useMissingScope(scope);
  const mounted = useRef(true);
  useEffect(() => () => {
    mounted.current = false;
  }, []);
  const press = async () => {
    if (busy) return;
    setBusy(true);
    try {
      await action();
    } finally {
      if (mounted.current) setBusy(false);
    }
  };
  const button = html`<button type="button" class="button ${kind}" onClick=${press} disabled=${disabled || Boolean(missing)}
    aria-busy=${busy} title=${title} aria-label=${label}>${children}</button>`;
  return missing ? html`<span class="withheld">${button}<span class="quiet">needs a key with the scope <code>${missing}</code></span></span>` : button;
}

export function CopyButton({ text, what, label = "Copy" }) {
  const [state, setState] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setState("Copied");
    } catch {
      setState("Not allowed");
    }
    setTimeout(() => setState(""), 2000);
  };
  return html`<button type="button" class="button small" onClick=${copy} title="Copy ${what}"
    aria-live="polite">${state || label}</button>`;
}

// A component whose module is loaded when it is first shown, so that the first view is light.
export const lazy = (load) => function Lazy(props) {
  const [Shown, setShown] = useState(null);
  useEffect(() => {
    let current = true;
    load().then((component) => current && setShown(() => component), () => {});
    return () => {
      current = false;
    };
  }, []);
  return Shown && html`<${Shown} ...${props} />`;
};

// Announces a message to screen readers without showing it.
export const announce = (message) => {
  const region = document.getElementById("announcements");
  if (region) region.textContent = message;
};

// Tabs by the ARIA pattern: arrow keys move between them.
export function Tabs({ label, tabs, selected, onSelect }) {
  const list = useRef(null);
  const move = (event) => {
    const index = tabs.findIndex(([name]) => name === selected);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const [name] = tabs[(index + step + tabs.length) % tabs.length];
    onSelect(name);
    list.current?.querySelector(`[data-tab="${name}"]`)?.focus();
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} ref=${list} onKeyDown=${move}>
    ${tabs.map(([name, title]) => html`<button type="button" role="tab" data-tab=${name}
      aria-selected=${name === selected ? "true" : "false"} tabindex=${name === selected ? 0 : -1}
      onClick=${() => onSelect(name)}>${title}</button>`)}
  </div>`;
}
