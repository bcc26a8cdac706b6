// A small picture of a finished job: the first frame of its contact sheet, a waveform, or a picture.

import { html, useState } from "../lib/preact.js";
import { jobPath } from "../lib/api.js";
import { useMediaUrl } from "../lib/media_url.js";

const SHEETS = new Set(["lip_sync", "portrait", "persona_sync"]);
const PICTURES = new Set([...SHEETS, "speech", "analyze"]);

export function Thumbnail({ job }) {
  const [lost, setLost] = useState(false);
  const has = job.status === "succeeded" && PICTURES.has(job.type);
  const [url, problem] = useMediaUrl(has ? `${jobPath(job.id)}/thumbnail` : "");
  if (!has || lost || problem || !url) return html`<span class="thumb" aria-hidden="true"></span>`;
  return html`<span class="thumb ${SHEETS.has(job.type) ? "thumb-sheet" : ""}"><img src=${url} alt="" loading="lazy" onError=${() => setLost(true)} /></span>`;
}
