// A result video beside its source on one clock: play, seek, step by frame, compare with a slider, zoom.

import { html, useEffect, useRef, useState } from "../lib/preact.js";
import { clock } from "../lib/format.js";
import { useMediaUrl } from "../lib/media_url.js";
import { CaptionChoice, CaptionTrack, useCaptions } from "./caption_track.js";

const MAX_DRIFT_S = 0.08;

export function Comparison({ job, body, resultUrl, source, fps, onError }) {
  const captions = useCaptions(job, body);
  const [fetched] = useMediaUrl(source?.path || "");
  const local = useFileUrl(source?.file);
  const sourceUrl = local || fetched;
  const [sourceKind, setSourceKind] = useState(() => (source?.file?.type.startsWith("image/") ? "image" : "video"));
  const [layout, setLayout] = useState("side");
  const [split, setSplit] = useState(50);
  const [zoom, setZoom] = useState(1);
  const [origin, setOrigin] = useState("50% 45%");
  const [time, setTime] = useState(0);
  const [length, setLength] = useState(0);
  const [playing, setPlaying] = useState(false);
  const result = useRef(null);
  const original = useRef(null);

  useEffect(() => {
    let frame = 0;
    const follow = () => {
      if (result.current) {
        setTime(result.current.currentTime);
        align(original.current, result.current);
      }
      frame = requestAnimationFrame(follow);
    };
    if (playing) frame = requestAnimationFrame(follow);
    return () => cancelAnimationFrame(frame);
  }, [playing]);

  const toggle = () => {
    if (!result.current) return;
    if (result.current.paused) result.current.play();
    else result.current.pause();
  };
  const seek = (to) => {
    if (!result.current) return;
    result.current.currentTime = Math.min(Math.max(0, to), length || to);
    align(original.current, result.current, true);
    setTime(result.current.currentTime);
  };
  const rate = frameRate(fps);
  const step = (frames) => {
    result.current?.pause();
    seek((Math.floor(time * rate + 0.001) + frames + 0.5) / rate);
  };
  const keys = (event) => {
    const action = { " ": toggle, ",": () => step(-1), ".": () => step(1) }[event.key];
    if (!action || ["BUTTON", "SELECT"].includes(event.target.tagName)) return;
    event.preventDefault();
    action();
  };
  // with a zoom, a click moves that point of the picture to where it was clicked
  const aim = (event) => {
    if (zoom === 1 || !event.target.closest("video, img")) return;
    const part = event.target.closest(".stage-part").getBoundingClientRect();
    const share = (at, start, length) => `${Math.round(((at - start) / length) * 100)}%`;
    setOrigin(`${share(event.clientX, part.left, part.width)} ${share(event.clientY, part.top, part.height)}`);
  };
  const hasSource = Boolean(sourceUrl) && sourceKind !== "none";
  const lost = () => setSourceKind((kind) => (kind === "video" ? "image" : "none"));
  const Source = hasSource && html`<figure class="stage-part stage-source">
    ${sourceKind === "image" ? html`<img src=${sourceUrl} alt="Source" onError=${lost} />`
      : html`<video ref=${original} src=${sourceUrl} muted playsinline preload="auto" aria-label="Source" onError=${lost}></video>`}
    <figcaption>Source</figcaption></figure>`;
  return html`<div class="player" onKeyDown=${keys} style=${{ "--split": `${split}%`, "--zoom": zoom, "--origin": origin }}>
    <div class="stage stage-${hasSource ? layout : "single"}" tabindex="0" onClick=${aim} role="group" aria-label="Result and source. Space plays, comma and full stop step by frame.">
      ${Source}
      <figure class="stage-part stage-result">
        <video ref=${result} src=${resultUrl} playsinline preload="auto" aria-label="Result" onError=${onError}
          onLoadedMetadata=${(event) => setLength(event.target.duration)} onPlay=${() => {
            setPlaying(true);
            original.current?.play().catch(() => {});
          }} onPause=${() => {
            setPlaying(false);
            original.current?.pause();
          }} onSeeked=${() => align(original.current, result.current, true)} onEnded=${() => setPlaying(false)}><${CaptionTrack} captions=${captions} /></video>
        <figcaption>Result</figcaption></figure>
      ${hasSource && layout === "slider" && html`<span class="split-line" aria-hidden="true"></span>`}
    </div>
    <div class="controls">
      <button type="button" class="button primary" onClick=${toggle}>${playing ? "Pause" : "Play"}</button>
      <button type="button" class="button small" onClick=${() => step(-1)}>−1 frame</button>
      <button type="button" class="button small" onClick=${() => step(1)}>+1 frame</button>
      <input type="range" class="seek" min="0" max=${length || 1} step="0.01" value=${time} aria-label="Position in seconds"
        aria-valuetext=${`${clock(time)} of ${clock(length)}`} onInput=${(event) => seek(event.target.valueAsNumber)} />
      <span class="time">${clock(time)} / ${clock(length)}</span>
      ${hasSource && html`<label class="inline">View <select class="input small" value=${layout} onChange=${(event) => setLayout(event.target.value)}>
        <option value="side">side by side</option><option value="slider">slider</option><option value="only">result only</option></select></label>`}
      ${hasSource && layout === "slider" && html`<input type="range" class="split" min="0" max="100" value=${split} aria-label="Share of the source in percent" onInput=${(event) => setSplit(event.target.valueAsNumber)} />`}
      <label class="inline">Zoom <select class="input small" value=${zoom} onChange=${(event) => setZoom(Number(event.target.value))}>
        <option value="1">off</option><option value="2">2 ×</option><option value="4">4 ×</option></select></label>
      <${CaptionChoice} captions=${captions} />
    </div>
  </div>`;
}

// The result's clock leads. A source that is shorter plays forwards and backwards, as the renderer uses it.
function align(source, result, exact = false) {
  if (!source || !result || !source.duration) return;
  const lap = result.currentTime % (2 * source.duration);
  const backwards = lap > source.duration;
  const target = backwards ? 2 * source.duration - lap : lap;
  if (backwards || result.currentTime > source.duration) source.pause();
  if (exact || backwards || Math.abs(source.currentTime - target) > MAX_DRIFT_S) source.currentTime = target;
}

function frameRate(text) {
  const [numerator, denominator = "1"] = String(text || "25").split("/");
  return Number(numerator) / Number(denominator) || 25;
}

function useFileUrl(file) {
  const [url, setUrl] = useState("");
  useEffect(() => {
    if (!file) return undefined;
    const made = URL.createObjectURL(file);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [file]);
  return url;
}
