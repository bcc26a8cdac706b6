// Choose the face that speaks by a click: the faces of the photo, or of the first frame of the video.

import { html, useEffect, useState } from "../lib/preact.js";
import { Problem, jobPath, request } from "../lib/api.js";
import { rememberedFile, upload } from "../lib/uploads.js";
import { FINAL } from "../lib/job_events.js";
import { ActionButton, ProblemBox, announce } from "./basics.js";

const PICTURE_FIELDS = ["video", "image"];

export function FacePicker({ values, value, onChoose }) {
  const reference = PICTURE_FIELDS.map((name) => values[name]).find(Boolean);
  const file = rememberedFile(reference);
  const [found, setFound] = useState(null);
  const [problem, setProblem] = useState(null);
  const [url, setUrl] = useState("");
  useEffect(() => {
    setFound(null);
    setProblem(null);
  }, [reference]);
  useEffect(() => {
    if (!found) return undefined;
    const made = URL.createObjectURL(found.picture);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [found]);
  if (!file || !/^(image|video)\//.test(file.type)) return null;

  const find = async () => {
    setProblem(null);
    try {
      const isVideo = file.type.startsWith("video/");
      const picture = isVideo ? await firstFrame(file) : file;
      const uri = isVideo ? await upload(picture, () => {}).done : reference;
      const result = await facesOf(uri);
      setFound({ picture, ...result });
      announce(`${result.faces.length} faces`);
    } catch (error) {
      setProblem(error);
    }
  };
  return html`<div class="faces">
    <${ActionButton} kind="small" action=${find}>${found ? "Find the faces again" : "Choose the face in the picture"}<//>
    <${ProblemBox} problem=${problem} />
    ${found && !found.faces.length && html`<p class="fault" role="status">No face was found.</p>`}
    ${found && url && html`<div class="face-picture"><img src=${url} alt="Picture with ${found.faces.length} faces" />
      ${found.faces.map((face, number) => html`<button type="button" class="face" style=${placeOf(face.box, found)}
        aria-pressed=${value === number ? "true" : "false"} aria-label="Face ${number}${number ? "" : ", the largest"}"
        onClick=${() => onChoose(number)}><span>${number}</span></button>`)}</div>`}
  </div>`;
}

// Runs an analysis that lists the faces, largest first.
async function facesOf(image) {
  const body = { image, features: ["faces"], control: { priority: "high" } };
  let job = await request("/v1/jobs/analyze", { method: "POST", json: body, headers: { Prefer: "wait=30" } });
  while (!FINAL.has(job.status)) job = await request(jobPath(job.id), { headers: { Prefer: "wait=20" } });
  if (job.status !== "succeeded") throw new Problem({ detail: `The analysis was ${job.status}.`, code: job.status, ...(job.error && { code: job.error.code, detail: job.error.message }) });
  return { faces: job.result.faces || [], width: job.result.width, height: job.result.height };
}

function placeOf([left, top, right, bottom], { width, height }) {
  const share = (part, whole) => `${(100 * part) / whole}%`;
  return { left: share(left, width), top: share(top, height), width: share(right - left, width), height: share(bottom - top, height) };
}

// Returns the first frame of a video as a PNG file.
async function firstFrame(file) {
  const video = document.createElement("video");
  const url = URL.createObjectURL(file);
  try {
    video.muted = true;
    video.preload = "auto";
    await new Promise((resolve, reject) => {
      video.onloadeddata = resolve;
      video.onerror = () => reject(new Problem({ code: "media_unreadable", detail: "This browser cannot play the video. Choose the face by its position." }));
      video.src = url;
    });
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    return new File([blob], `${file.name.slice(0, 200)}.png`, { type: "image/png" });
  } finally {
    URL.revokeObjectURL(url);
  }
}
