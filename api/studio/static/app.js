// The studio's shell: navigation, the current view, connection and error states.

import { html, render, useEffect, useErrorBoundary, useRef, useState } from "./lib/preact.js";
import { Link, useRoute } from "./lib/router.js";
import { rooted } from "./lib/root.js";
import { applyTheme } from "./lib/theme.js";
import { NewJob } from "./views/new_job.js";
import { Loading, announce } from "./components/basics.js";

applyTheme();

// The other views are loaded when they are opened, so that the first one is light.
const VIEWS = {
  job: () => import("./views/job.js").then((module) => module.JobView),
  jobs: () => import("./views/jobs.js").then((module) => module.Jobs),
  avatars: () => import("./views/avatars.js").then((module) => module.Avatars),
  system: () => import("./views/system.js").then((module) => module.System),
  settings: () => import("./views/settings.js").then((module) => module.Settings),
};
const TITLES = { new: "New job", jobs: "Jobs", job: "Job", avatars: "Avatars", system: "System", settings: "Settings", missing: "Not found" };
const FOOT = [["API", "/docs"], ["Problem codes", "/docs/problems"], ["OpenAPI", "/openapi.json"], ["Readiness", "/readyz"], ["Metrics", "/metrics"]];
const NAVIGATION = [["new", "/studio/new"], ["jobs", "/studio/jobs"], ["avatars", "/studio/avatars"], ["system", "/studio/system"], ["settings", "/studio/settings"]];

function App() {
  const route = useRoute();
  const main = useRef(null);
  const first = useRef(true);
  const place = `${route.view} ${route.id || ""}`;
  useEffect(() => {
    document.title = `${TITLES[route.view]} – musetalk-flows studio`;
    if (!first.current) {
      window.scrollTo(0, 0);
      main.current?.focus();
      announce(TITLES[route.view]);
    }
    first.current = false;
  }, [place]);
  return html`<a class="skip" href="#main">Skip to content</a>
    <header class="bar"><${Link} class="brand" to="/studio/new"><${Logo} /> musetalk-flows<//>
      <nav aria-label="Views"><ul>${NAVIGATION.map(([view, address]) => html`<li><${Link} to=${address}
        aria-current=${route.view === view || (view === "jobs" && route.view === "job") ? "page" : undefined}>${TITLES[view]}<//></li>`)}</ul></nav></header>
    <${ConnectionNotice} />
    <main id="main" ref=${main} tabindex="-1"><${Guarded} key=${place}><${CurrentView} route=${route} /><//></main>
    <footer class="foot">${FOOT.map(([title, path]) => html`<a href=${rooted(path)}>${title}</a> `)}</footer>
    <div id="announcements" class="hidden-text" role="status" aria-live="polite"></div>`;
}

function CurrentView({ route }) {
  const [View, setView] = useState(null);
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    VIEWS[route.view]?.().then((view) => setView(() => view), () => setFailed(true));
  }, []);
  if (route.view === "new") return html`<${NewJob} query=${route.query} />`;
  if (route.view === "missing") return html`<h1>Not found</h1><p>The studio has no view at this address.</p><p><${Link} to="/studio/new">New job<//></p>`;
  if (failed) return html`<h1>${TITLES[route.view]}</h1><p class="notice notice-error" role="alert">This view could not be loaded. Check the connection and reload the page.</p>`;
  return View ? html`<${View} id=${route.id} query=${route.query} />` : html`<h1>${TITLES[route.view]}</h1><${Loading} />`;
}

// Shows an error of the page itself instead of an empty screen.
function Guarded({ children }) {
  const [error] = useErrorBoundary((found) => console.error(found));
  if (!error) return children;
  return html`<h1>The page failed</h1><p class="notice notice-error" role="alert">${String(error.message || error)}</p>
    <p><a href=${location.href}>Reload the page</a></p>`;
}

function ConnectionNotice() {
  const [online, setOnline] = useState(true);
  useEffect(() => {
    const note = (event) => setOnline(event.detail);
    const gone = () => setOnline(false);
    window.addEventListener("studio:connection", note);
    window.addEventListener("offline", gone);
    return () => {
      window.removeEventListener("studio:connection", note);
      window.removeEventListener("offline", gone);
    };
  }, []);
  return online ? null : html`<p class="offline" role="alert">The server does not answer. What you typed stays on this page.</p>`;
}

const Logo = () => html`<svg class="logo" viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="8" /><path d="M8 17v-2M12 20v-8M16 23V9M20 20v-8M24 17v-2" /></svg>`;

// A file that is dropped beside a field must not replace the page, and with it the form.
for (const name of ["dragover", "drop"]) {
  window.addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    if (!event.target.closest?.(".drop")) event.dataTransfer.dropEffect = "none";
  });
}

const root = document.getElementById("app");
root.textContent = "";
render(html`<${App} />`, root);
