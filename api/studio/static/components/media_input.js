// A field for a media reference: drop or choose a file, which is uploaded at once, or type a reference.

import { html, useEffect, useRef, useState } from "../lib/preact.js";
import { bytes } from "../lib/format.js";
import { rememberFile, rememberedFile, upload } from "../lib/uploads.js";
import { UserText, announce } from "./basics.js";
import { Waveform } from "./waveform.js";

const ACCEPTED = {
  video: "video/*,image/*",
  image: "image/*",
  audio: "audio/*,video/*",
  reference_audio: "audio/*,video/*",
  captions: ".srt,.vtt,text/plain,text/vtt",
  manifest: ".csv,.jsonl,.json,text/csv",
};
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
    setProgress(0);
    onChange(undefined);
    onBusy(field.pointer, true);
    const started = upload(chosen, (done, total) => setProgress(total ? done / total : 1));
    transfer.current = started;
    try {
      const asset = await started.done;
      if (transfer.current !== started) return;
      rememberFile(asset.uri, chosen);
      onChange(asset.uri);
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
  useEffect(() => () => transfer.current?.abort(), []);

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
    <input type="text" class="input" value=${value || ""} placeholder=${field.example} dir="auto" spellcheck="false"
      aria-label=${`${field.title}: media reference`}
      onChange=${(event) => onChange(event.target.value.trim() || undefined)} />
    <p class="quiet">s3://bucket/key, https://…, asset://ID or job://ID</p>
  </details>`;

  if (!file && !value) return zone;
  return html`<div class="media-card" onDragOver=${(event) => event.preventDefault()} onDrop=${drop}>
    ${file && html`<${Preview} file=${file} />`}
    <div class="media-facts">
      <p class="media-name"><${UserText} text=${file ? file.name : value} /></p>
      <p class="quiet">${file ? bytes(file.size) : "reference"}${
        progress !== null ? ` · uploading ${Math.floor(progress * 100)} %` : file && value ? " · uploaded" : ""}</p>
      ${progress !== null && html`<progress max="1" value=${progress} aria-label="Upload of ${field.title}"></progress>`}
      ${problem && html`<p class="fault" role="alert"><${UserText} text=${problem.message} /></p>
        <button type="button" class="button small" onClick=${() => take(file)}>Upload again</button>`}
    </div>
    <button type="button" class="button small" onClick=${clear} aria-label="Remove ${field.title}">${
      progress !== null ? "Stop" : "Remove"}</button>
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
