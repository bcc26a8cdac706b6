// The event stream of a job, read with fetch: an EventSource cannot send an API key.

import { Problem, jobPath, keyHeaders, problemOf } from "./api.js";
import { rooted } from "./root.js";

export const FINAL = new Set(["succeeded", "failed", "canceled", "aborted"]);
const RECONNECT_MS = 2000;

// Calls onJob with each state of the job until it has ended; onState says "live", "retrying" or "ended".
export function watchJob(id, { onJob, onState, onProblem }) {
  const controller = new AbortController();
  run(id, { onJob, onState, onProblem }, controller.signal);
  return () => controller.abort();
}

async function run(id, handlers, signal) {
  let lastId = "";
  while (!signal.aborted) {
    try {
      const headers = { Accept: "text/event-stream", ...keyHeaders() };
      if (lastId) headers["Last-Event-ID"] = lastId;
      const response = await fetch(rooted(`${jobPath(id)}/events`), { headers, signal });
      if (!response.ok) throw await problemOf(response);
      handlers.onState("live");
      for await (const event of eventsOf(response.body)) {
        if (event.id) lastId = event.id;
        const job = JSON.parse(event.data);
        handlers.onJob(job);
        if (FINAL.has(job.status)) return handlers.onState("ended");
      }
    } catch (error) {
      if (signal.aborted) return undefined;
      if (error instanceof Problem && !error.retryable && error.status < 500) return handlers.onProblem(error);
    }
    handlers.onState("retrying");
    await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
  }
  return undefined;
}

// Parses a text/event-stream body into objects with event, id and data.
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    buffer += value.replace(/\r\n?/g, "\n");
    let end = buffer.indexOf("\n\n");
    while (end >= 0) {
      const event = parseEvent(buffer.slice(0, end));
      if (event.data) yield event;
      buffer = buffer.slice(end + 2);
      end = buffer.indexOf("\n\n");
    }
  }
}

function parseEvent(text) {
  const event = { data: "" };
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon < 1) continue;
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).replace(/^ /, "");
    event[name] = name === "data" && event.data ? `${event.data}\n${value}` : value;
  }
  return event;
}
