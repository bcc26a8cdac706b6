// A field for a media reference: drop or choose a file, which is uploaded at once, or type a reference.

import { html, useEffect, useRef, useState } from "../lib/preact.js";
import { bytes } from "../lib/format.js";
import { rememberedFile, upload } from "../lib/uploads.js";
import { UserText, announce, lazy } from "./basics.js";
import { TypedInput } from "./typed_input.js";

const Waveform = lazy(() => import("./waveform.js").then((module) => module.Waveform));

const ACCEPTED = {
  video: "video/*,image/*",
  image: "image/*",
  audio: "audio/*,video/*",
  reference_audio: "audio/*,video/*",
  captions: ".srt,.vtt,text/plain,text/vtt",
  manifest: ".csv,.jsonl,.json,text/csv",
};
const UPLOAD_WORDS = { sending: "uploading", waiting: "waiting for the server, uploaded", paused: "paused at" };
const HINTS = {
  video: "a video or a photo of the person",
  image: "a photo of the person",
  audio: "a recording of the speech",
  captions: "an SRT or VTT file",
};

export function MediaInput({ field, value, onChange, onBusy, describedBy, invalid }) {
  const [file, setFile] = useState(() => rememberedFile(value) || null);
  const [progress, setProgress] = useState(null);
  const [problem, setProblem] = useState(null);
  const [over, setOver] = useState(false);
  const transfer = useRef(null);
  const input = useRef(null);
  const id = `field-${field.path.join("-")}`;

  const take = async (chosen) => {
    if (!chosen) return;
    transfer.current?.abort();
    setFile(chosen);
    setProblem(null);
    setProgress({ phase: "sending", done: 0 });
    onChange(undefined);
    onBusy(field.pointer, true);
    const started = upload(chosen, (state) => transfer.current === started && setProgress(state));
    transfer.current = started;
    try {
      const reference = await started.done;
      if (transfer.current !== started) return;
      onChange(reference);
      announce(`${chosen.name} is uploaded`);
    } catch (error) {
      if (transfer.current !== started) return;
      if (error.code !== "aborted") setProblem(error);
    }
    setProgress(null);
    onBusy(field.pointer, false);
  };
  const clear = () => {
    transfer.current?.abort();
    transfer.current = null;
    setFile(null);
    setProgress(null);
    setProblem(null);
    onBusy(field.pointer, false);
    onChange(undefined);
    input.current?.focus();
  };
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer.files[0]);
  };
  // leaving the view pauses the upload: choosing the file again continues it
  useEffect(() => () => {
    const last = transfer.current;
    transfer.current = null;
    last?.pause();
  }, []);

  const zone = html`<label class="drop ${over ? "drop-over" : ""} ${invalid ? "drop-invalid" : ""}"
      onDragOver=${(event) => {
        event.preventDefault();
        setOver(true);
      }} onDragLeave=${() => setOver(false)} onDrop=${drop}>
    <input type="file" id=${id} class="drop-input" ref=${input} accept=${ACCEPTED[field.name]}
      aria-describedby=${describedBy} aria-invalid=${invalid ? "true" : "false"}
      aria-label=${`${field.title}: choose a file`} onChange=${(event) => take(event.target.files[0])} />
    <span class="drop-title">Drop ${HINTS[field.name] || "a file"} here</span>
    <span class="drop-action">or choose a file</span>
  </label>
  <details class="reference"><summary>Use a reference instead</summary>
    <${TypedInput} type="text" class="input" value=${value} placeholder=${field.example} dir="auto" spellcheck="false"
      aria-label=${`${field.title}: media reference`} on="onChange"
      read=${(event) => event.target.value.trim() || undefined} set=${onChange} />
    <p class="quiet">s3://bucket/key, https://…, asset://ID or job://ID</p>
  </details>`;

  if (!file && !value) return zone;
  return html`<div class="media-card" onDragOver=${(event) => event.preventDefault()} onDrop=${drop}>
    ${file && html`<${Preview} file=${file} />`}
    <div class="media-facts">
      <p class="media-name"><${UserText} text=${file ? file.name : value} /></p>
      <p class="quiet">${file ? bytes(file.size) : "reference"}${
        progress !== null ? ` · ${UPLOAD_WORDS[progress.phase]} ${Math.floor((progress.done / file.size) * 100) || 0} %` : file && value ? " · uploaded" : ""}</p>
      ${progress !== null && html`<progress max=${file.size || 1} value=${progress.done} aria-label="Upload of ${field.title}"></progress>`}
      ${problem && html`<p class="fault" role="alert"><${UserText} text=${problem.message} /></p>
        <button type="button" class="button small" onClick=${() => take(file)}>Upload again</button>`}
      <span class="actions">${progress !== null && html`<button type="button" class="button small" aria-label="${progress.phase === "paused" ? "Resume" : "Pause"} the upload of ${field.title}"
        onClick=${() => (progress.phase === "paused" ? transfer.current.resume() : transfer.current.pause())}>${progress.phase === "paused" ? "Resume" : "Pause"}</button>`}
      <button type="button" class="button small" onClick=${clear} aria-label="${progress !== null ? "Stop" : "Remove"} ${field.title}">${
        progress !== null ? "Stop" : "Remove"}</button></span>
    </div>
  </div>`;
}

// A picture of the file itself: the image, the first frame of a video, or the waveform of a sound.
function Preview({ file }) {
  const [url, setUrl] = useState("");
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    const made = URL.createObjectURL(file);
    setUrl(made);
    setFailed(false);
    return () => URL.revokeObjectURL(made);
  }, [file]);
  if (!url || failed) return html`<div class="thumbnail thumbnail-none" aria-hidden="true">?</div>`;
  const lost = () => setFailed(true);
  if (file.type.startsWith("image/")) return html`<img class="thumbnail" src=${url} alt="Chosen picture" onError=${lost} />`;
  if (file.type.startsWith("video/")) {
    return html`<video class="thumbnail" src=${`${url}#t=0.1`} muted playsinline preload="metadata" controls
      aria-label="Chosen video" onError=${lost}></video>`;
  }
  if (file.type.startsWith("audio/")) {
    return html`<div class="sound"><${Waveform} blob=${file} />
      <audio src=${url} controls preload="metadata" aria-label="Chosen sound" onError=${lost}></audio></div>`;
  }
  return html`<div class="thumbnail thumbnail-none" aria-hidden="true">${(file.name.split(".").pop() || "").slice(0, 4)}</div>`;
}
