// The newest frame of a running video job; the number in the job's progress says when there is a new one.

import { html, useEffect, useState } from "../lib/preact.js";
import { jobPath, send } from "../lib/api.js";

export function PreviewFrame({ job }) {
  const [url, setUrl] = useState("");
  const number = job.progress.preview;
  useEffect(() => {
    if (!number) return undefined;
    const controller = new AbortController();
    send(`${jobPath(job.id)}/preview`, { signal: controller.signal, headers: { Accept: "image/jpeg" } })
      .then((response) => response.blob())
      .then((blob) => controller.signal.aborted || setUrl(URL.createObjectURL(blob)), () => {}); // the next one follows
    return () => controller.abort();
  }, [job.id, number]);
  useEffect(() => () => url && URL.revokeObjectURL(url), [url]);
  return url ? html`<figure class="preview-frame"><img src=${url} alt="Newest rendered frame" /><figcaption>Preview</figcaption></figure>` : null;
}
