// Uploads of files with progress. The finished upload is a media reference, asset://ID.

import { Problem, keyHeaders } from "./api.js";

// XMLHttpRequest, because fetch reports no progress of a request's body.
export function upload(file, onProgress) {
  const transfer = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    transfer.open("POST", `/v1/assets?name=${encodeURIComponent(file.name.slice(-255))}`);
    for (const [name, value] of Object.entries(keyHeaders())) transfer.setRequestHeader(name, value);
    transfer.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    transfer.responseType = "json";
    transfer.upload.onprogress = (event) => onProgress(event.loaded, file.size);
    transfer.onload = () => {
      if (transfer.status === 201) resolve(transfer.response);
      else reject(new Problem({ status: transfer.status, ...(transfer.response || {}) }));
    };
    transfer.onerror = () => reject(new Problem({ code: "offline", detail: "The connection broke." }));
    transfer.onabort = () => reject(new Problem({ code: "aborted", detail: "The upload was stopped." }));
    transfer.send(file);
  });
  return { done, abort: () => transfer.abort() };
}

// Files of this page by reference, so that a job's page can show the source beside the result.
const local = new Map();
export const rememberFile = (uri, file) => local.set(uri, file);
export const rememberedFile = (uri) => local.get(uri);
