// Resumable uploads (tus 1.0.0 at /v1/uploads). The finished upload is a media reference, asset://ID.

import { Problem, keyHeaders } from "./api.js";

const PART_BYTES = 32 * 1024 * 1024;
const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const NOTE_PREFIX = "musetalk.upload:";
const NOTE_DAYS = 7;
const AGAIN = new Set([0, 409, 423, 429, 500, 502, 503, 504, 507]);

// Uploads a file, from where an earlier upload of the same file stopped. onState says what happens, as
// { phase: "sending" | "waiting" | "paused", done }; `done` resolves with the asset's reference.
export function upload(file, onState) {
  const transfer = new Transfer(file, onState);
  return { done: transfer.run(), pause: () => transfer.pause(), resume: () => transfer.resume(), abort: () => transfer.abort() };
}

class Transfer {
  constructor(file, onState) {
    this.file = file;
    this.note = noteName(file);
    this.report = onState;
    this.offset = 0;
    this.wake = () => {};
  }

  async run() {
    this.url = readNote(this.note);
    let known = !this.url;
    let reached = 0;
    for (let failures = 0; ;) {
      try {
        if (this.aborted) throw new Problem({ code: "aborted", detail: "The upload was stopped." });
        if (this.paused) await this.rest("paused");
        else {
          if (!known) await this.findOffset();
          known = true;
          if (!this.url) await this.create();
          if (this.offset > reached) failures = 0;
          reached = this.offset;
          const reference = await this.sendPart();
          if (reference) return this.finish(reference);
        }
      } catch (error) {
        if (this.aborted) throw error;
        known = false;
        if (this.paused) continue;
        if (!AGAIN.has(error.status)) throw error;
        await this.rest("waiting", RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
        failures += 1;
      }
    }
  }

  async create() {
    const response = await this.ask("POST", "/v1/uploads", {
      "Upload-Length": this.file.size,
      "Upload-Metadata": `filename ${base64(this.file.name.slice(-255))}`,
    });
    this.url = new URL(response.getResponseHeader("Location"), location.href).pathname;
    this.offset = 0;
    writeNote(this.note, this.url);
  }

  // After a break the server says where to continue; an upload that it no longer has starts again.
  async findOffset() {
    if (!this.url) return;
    try {
      const response = await this.ask("HEAD", this.url, {});
      this.offset = Number(response.getResponseHeader("Upload-Offset"));
    } catch (error) {
      if (error.status !== 404 && error.status !== 410 && error.status !== 422) throw error;
      this.forget();
    }
  }

  async sendPart() {
    this.report({ phase: "sending", done: this.offset });
    const part = this.file.slice(this.offset, this.offset + PART_BYTES);
    const response = await this.ask("PATCH", this.url,
      { "Upload-Offset": this.offset, "Content-Type": "application/offset+octet-stream" }, part);
    this.offset = Number(response.getResponseHeader("Upload-Offset"));
    return response.getResponseHeader("Upload-Asset");
  }

  // XMLHttpRequest, because fetch reports no progress of a request's body.
  ask(method, path, headers, body = null) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      this.request = request;
      request.open(method, path);
      for (const [name, value] of Object.entries({ "Tus-Resumable": "1.0.0", ...keyHeaders(), ...headers })) request.setRequestHeader(name, value);
      const start = this.offset;
      if (body) request.upload.onprogress = (event) => this.report({ phase: "sending", done: start + event.loaded });
      request.onload = () => (request.status < 300 ? resolve(request) : reject(problemOf(request)));
      request.onerror = () => reject(new Problem({ code: "offline", detail: "The connection broke." }));
      request.onabort = () => reject(new Problem({ code: "aborted", detail: "The upload was stopped." }));
      request.send(body);
    });
  }

  // Waits for a time, or until resume or abort.
  rest(phase, milliseconds) {
    this.report({ phase, done: this.offset });
    return new Promise((resolve) => {
      this.wake = resolve;
      if (milliseconds) setTimeout(resolve, milliseconds);
    });
  }

  finish(reference) {
    this.forget();
    rememberFile(reference, this.file);
    return reference;
  }

  forget() {
    localStorage.removeItem(this.note);
    this.url = "";
    this.offset = 0;
  }

  pause() {
    this.paused = true;
    this.request?.abort();
  }

  resume() {
    this.paused = false;
    this.wake();
  }

  abort() {
    if (this.aborted) return;
    this.aborted = true;
    this.request?.abort();
    this.wake();
    const url = this.url;
    this.forget();
    if (url) fetch(url, { method: "DELETE", headers: { "Tus-Resumable": "1.0.0", ...keyHeaders() } }).catch(() => {});
  }
}

function problemOf(request) {
  let document = {};
  try {
    document = JSON.parse(request.responseText);
  } catch {
    document = { detail: `The server answered with status ${request.status}.` };
  }
  return new Problem({ status: request.status, ...document });
}

const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
const noteName = (file) => `${NOTE_PREFIX}${file.size}:${file.lastModified}:${file.name.slice(0, 255)}`;

function readNote(name) {
  try {
    return JSON.parse(localStorage.getItem(name))?.url || "";
  } catch {
    return "";
  }
}

const writeNote = (name, url) => localStorage.setItem(name, JSON.stringify({ url, at: Date.now() }));

// Names of files whose upload was interrupted, for example by a reload; older notes are removed.
export function interruptedUploads() {
  const names = [];
  for (const name of Object.keys(localStorage).filter((one) => one.startsWith(NOTE_PREFIX))) {
    const note = JSON.parse(localStorage.getItem(name) || "{}");
    if (!note?.url || Date.now() - note.at > NOTE_DAYS * 86_400_000) localStorage.removeItem(name);
    else names.push(name.slice(NOTE_PREFIX.length).split(":").slice(2).join(":"));
  }
  return names;
}

// Files of this page by reference, so that a job's page can show the source beside the result.
const local = new Map();
export const rememberFile = (uri, file) => local.set(uri, file);
export const rememberedFile = (uri) => local.get(uri);
