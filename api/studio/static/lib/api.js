// Requests to the /v1 API: JSON with problem documents, files, and the API key of this browser tab.

import { rooted, unrooted } from "./root.js";

const KEY_NAME = "musetalk.api_key";

export class Problem extends Error {
  constructor(document) {
    super(document.detail || document.title || "The request failed.");
    this.code = document.code || "unknown";
    this.status = document.status || 0;
    this.errors = document.errors || [];
    this.requestId = document.request_id || "";
    this.retryable = Boolean(document.retryable);
  }
}

export const apiKey = () => sessionStorage.getItem(KEY_NAME) || "";

// A key stays in the tab's session storage: closing the tab deletes it, and no other page can read it.
export function setApiKey(key) {
  if (key) sessionStorage.setItem(KEY_NAME, key);
  else sessionStorage.removeItem(KEY_NAME);
  window.dispatchEvent(new Event("studio:key"));
}

export const keyHeaders = () => (apiKey() ? { Authorization: `Bearer ${apiKey()}` } : {});

export async function send(path, { method = "GET", json, headers = {}, signal } = {}) {
  const options = { method, signal, headers: { Accept: "application/json", ...keyHeaders(), ...headers } };
  if (json !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(json);
  }
  let response;
  try {
    response = await fetch(rooted(path), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    window.dispatchEvent(new CustomEvent("studio:connection", { detail: false }));
    throw new Problem({ code: "offline", detail: "The server does not answer. Check that it is running." });
  }
  window.dispatchEvent(new CustomEvent("studio:connection", { detail: true }));
  if (!response.ok) throw await problemOf(response);
  return response;
}

export async function request(path, options) {
  const response = await send(path, options);
  return response.status === 204 ? null : response.json();
}

export async function problemOf(response) {
  let document = {};
  try {
    document = await response.json();
  } catch {
    document = { detail: `The server answered with status ${response.status}.` };
  }
  const problem = new Problem({ status: response.status, ...document });
  if (problem.code === "unauthorized") window.dispatchEvent(new Event("studio:unauthorized"));
  return problem;
}

export const jobPath = (id) => `/v1/jobs/${encodeURIComponent(id)}`;
export const filePath = (id, name) => `${jobPath(id)}/files/${encodeURIComponent(name)}`;

const LINK_LIFETIME_S = 43_200;
const JOB_FILE = /^\/v1\/jobs\/([^/]+)\/(?:files\/([^/]+)|result)$/;
const ASSET = /^(\/v1\/assets\/[0-9a-f]{32})$/;

// Media elements cannot send a key. Without one they read the path; with one they read a signed link, which
// expires, so that they still request the ranges that they play. Small pictures are fetched whole.
export async function mediaUrl(path, signal) {
  if (!apiKey()) return rooted(path);
  const [, job, name] = path.match(JOB_FILE) || [];
  if (job) {
    const { files } = await request(`${jobPath(job)}/links?lifetime_s=${LINK_LIFETIME_S}`, { signal });
    const link = name ? files.find((one) => one.name === decodeURIComponent(name)) : files[0];
    if (!link) throw new Problem({ code: "not_found", status: 404, detail: "The job has no such file." });
    return rooted(unrooted(link.url));
  }
  if (ASSET.test(path)) return rooted(unrooted((await request(`${path}/link?lifetime_s=${LINK_LIFETIME_S}`, { signal })).url));
  const response = await send(path, { signal, headers: { Accept: "*/*" } });
  return URL.createObjectURL(await response.blob());
}

// Saves a file under its name.
export async function download(path, name) {
  const url = await mediaUrl(path);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
}
