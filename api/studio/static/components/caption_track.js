// Captions over a video: a choice of the sources that exist, and the track of the chosen one.

import { html, useEffect, useRef, useState } from "../lib/preact.js";
import { captionSources } from "../lib/captions.js";
import { plain } from "../lib/format.js";

// Returns the sources, the chosen one and its track's address; the address is a blob, as the text may need a key.
export function useCaptions(job, body) {
  const [sources, setSources] = useState([]);
  const [chosen, setChosen] = useState("");
  const [url, setUrl] = useState("");
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    const controller = new AbortController();
    captionSources(job, body, controller.signal).then((found) => controller.signal.aborted || setSources(found), () => {});
    return () => controller.abort();
  }, [job.id, body]);
  useEffect(() => {
    setUrl("");
    setFailed(false);
    const source = sources.find((one) => one.id === chosen);
    if (!source) return undefined;
    let made = "";
    let current = true;
    source.read().then((text) => {
      if (!current) return;
      made = URL.createObjectURL(new Blob([text], { type: "text/vtt" }));
      setUrl(made);
    }, () => current && setFailed(true));
    return () => {
      current = false;
      if (made) URL.revokeObjectURL(made);
    };
  }, [chosen, sources]);
  return { sources, chosen, choose: setChosen, url, failed };
}

export function CaptionChoice({ captions }) {
  if (!captions.sources.length) return null;
  return html`<label class="inline">Captions <select class="input small" value=${captions.chosen} onChange=${(event) => captions.choose(event.target.value)}>
    <option value="">off</option>${captions.sources.map((one) => html`<option value=${one.id}>${plain(one.title, 60)}</option>`)}</select></label>
    ${captions.failed && html`<span class="fault" role="alert">The captions cannot be read.</span>`}`;
}

export function CaptionTrack({ captions }) {
  const track = useRef(null);
  useEffect(() => {
    if (track.current) track.current.track.mode = "showing";
  }, [captions.url]);
  return captions.url ? html`<track key=${captions.url} ref=${track} kind="captions" label="Captions" src=${captions.url} />` : null;
}
