// Resumable uploads of files, and notes about interrupted ones. A finished upload is a media reference, asset://ID.

import { BucketTransfer } from "./bucket_transfer.js";
import { TusTransfer } from "./tus_transfer.js";

const NOTE_PREFIX = "musetalk.upload:";
const NOTE_DAYS = 7;
const KINDS = { api: TusTransfer, bucket: BucketTransfer };
// where the bytes go: the page knows whether the store is a bucket
let preferred = document.documentElement.dataset.uploads === "bucket" ? "bucket" : "api";

// Uploads a file, from where an earlier upload of the same file stopped. onState says what happens, as
// { phase: "sending" | "waiting" | "paused", done }; `done` resolves with the asset's reference.
export function upload(file, onState) {
  const known = readNote(noteName(file));
  let transfer = null;
  const start = (kind, url) => {
    const name = noteName(file);
    const notes = { write: (address) => writeNote(name, address, kind), remove: () => localStorage.removeItem(name) };
    transfer = new KINDS[kind](file, url, notes, onState);
    return transfer.run();
  };
  const run = async () => {
    try {
      return remembered(await start(known ? known.kind : preferred, known ? known.url : ""), file);
    } catch (error) {
      if (error.code !== "bucket_refuses") throw error;
      preferred = "api"; // for the rest of this page
      transfer.abort();
      return remembered(await start("api", ""), file);
    }
  };
  return { done: run(), pause: () => transfer.pause(), resume: () => transfer.resume(), abort: () => transfer.abort() };
}

function remembered(reference, file) {
  rememberFile(reference, file);
  return reference;
}

const noteName = (file) => `${NOTE_PREFIX}${file.size}:${file.lastModified}:${file.name.slice(0, 255)}`;

function readNote(name) {
  try {
    const { url, kind } = JSON.parse(localStorage.getItem(name));
    return url && KINDS[kind] ? { url, kind } : null;
  } catch {
    return null;
  }
}

const writeNote = (name, url, kind) => localStorage.setItem(name, JSON.stringify({ url, kind, at: Date.now() }));

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
