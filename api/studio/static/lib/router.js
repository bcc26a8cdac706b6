// Addresses of views below /studio, with the browser's history.

import { html, useEffect, useState } from "./preact.js";
import { ROOT, rooted, unrooted } from "./root.js";

const ROUTES = [
  [/^\/?$/, () => ({ view: "new" })],
  [/^\/studio\/?$/, () => ({ view: "new" })],
  [/^\/studio\/new$/, () => ({ view: "new" })],
  [/^\/studio\/jobs$/, () => ({ view: "jobs" })],
  [/^\/studio\/jobs\/([^/]+)$/, (id) => ({ view: "job", id })],
  [/^\/studio\/avatars$/, () => ({ view: "avatars" })],
  [/^\/studio\/system$/, () => ({ view: "system" })],
  [/^\/studio\/settings$/, () => ({ view: "settings" })],
];

export function currentRoute() {
  const path = location.pathname === ROOT ? "/" : unrooted(location.pathname);
  for (const [pattern, make] of ROUTES) {
    const match = path.match(pattern);
    if (match) return { ...make(...match.slice(1).map(decodeURIComponent)), query: new URLSearchParams(location.search) };
  }
  return { view: "missing", query: new URLSearchParams() };
}

export function navigate(address, { replace = false } = {}) {
  if (replace) history.replaceState(null, "", rooted(address));
  else history.pushState(null, "", rooted(address));
  window.dispatchEvent(new CustomEvent("studio:navigate", { detail: { replace } }));
}

export function useRoute() {
  const [route, setRoute] = useState(currentRoute);
  useEffect(() => {
    const update = () => setRoute(currentRoute());
    window.addEventListener("popstate", update);
    window.addEventListener("studio:navigate", update);
    return () => {
      window.removeEventListener("popstate", update);
      window.removeEventListener("studio:navigate", update);
    };
  }, []);
  return route;
}

// A link to a view; opens in place unless the user asks for a new tab.
export function Link({ to, children, ...rest }) {
  const follow = (event) => {
    if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(to);
  };
  return html`<a href=${rooted(to)} onClick=${follow} ...${rest}>${children}</a>`;
}
