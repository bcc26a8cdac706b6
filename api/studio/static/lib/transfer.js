// A resumable upload: sends part after part, continues after a broken connection, can be paused and resumed.

import { Problem, keyHeaders } from "./api.js";
import { rooted } from "./root.js";

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const AGAIN = new Set([0, 409, 423, 429, 500, 502, 503, 504, 507]);
const LOST = new Set([404, 410, 422]);

// Subclasses create an upload, find how far it is, and send a part; `url` is its path in the API.
export class Transfer {
  constructor(file, url, notes, report) {
    this.file = file;
    this.url = url;
    this.notes = notes;
    this.report = report;
    this.offset = 0;
    this.wake = () => {};
  }

  // Resolves with the asset's reference.
  async run() {
    let known = !this.url;
    let reached = 0;
    for (let failures = 0; ;) {
      try {
        if (this.aborted) throw new Problem({ code: "aborted", detail: "The upload was stopped." });
        if (this.paused) await this.rest("paused");
        else {
          if (!known) await this.continueUpload();
          known = true;
          if (!this.url) await this.begin();
          if (this.aborted) continue;
          if (this.offset > reached) failures = 0;
          reached = this.offset;
          this.report({ phase: "sending", done: this.offset });
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

  async begin() {
    const url = await this.create();
    if (this.aborted) { // stopped before it was there
      remove(url);
      return;
    }
    this.url = url;
    this.offset = 0;
    this.notes.write(this.url);
  }

  // After a break the server says where to continue; an upload that it no longer has starts again.
  async continueUpload() {
    if (!this.url) return;
    try {
      this.offset = await this.findOffset();
    } catch (error) {
      if (!LOST.has(error.status)) throw error;
      this.forget();
    }
  }

  // XMLHttpRequest, because fetch reports no progress of a request's body.
  ask(method, path, headers, body = null) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      this.request = request;
      request.open(method, rooted(path));
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
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
    return reference;
  }

  forget() {
    this.notes.remove();
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
    const { url } = this;
    this.forget();
    if (url) remove(url);
  }
}

// Deletes an upload; the server deletes it later if this fails.
function remove(url) {
  fetch(rooted(url), { method: "DELETE", headers: { "Tus-Resumable": "1.0.0", ...keyHeaders() } }).catch(() => {});
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
