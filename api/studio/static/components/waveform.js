// The waveform of an audio file on a canvas, decoded with the Web Audio API.

import { html, useEffect, useRef, useState } from "../lib/preact.js";
import { duration } from "../lib/format.js";

const MAX_BYTES = 60_000_000;
const BARS = 160;

// Returns the loudest sample of each of BARS parts, and the duration; null if the browser cannot decode it.
async function peaksOf(blob) {
  if (blob.size > MAX_BYTES) return null;
  const context = new OfflineAudioContext(1, 1, 16_000);
  try {
    const audio = await context.decodeAudioData(await blob.arrayBuffer());
    const samples = audio.getChannelData(0);
    const step = Math.max(1, Math.floor(samples.length / BARS));
    const peaks = Array.from({ length: BARS }, (_, bar) => {
      let peak = 0;
      const end = Math.min(samples.length, (bar + 1) * step);
      for (let index = bar * step; index < end; index += 1) peak = Math.max(peak, Math.abs(samples[index]));
      return peak;
    });
    return { peaks, seconds: audio.duration };
  } catch {
    return null;
  }
}

export function Waveform({ blob }) {
  const canvas = useRef(null);
  const [found, setFound] = useState(undefined);
  useEffect(() => {
    let current = true;
    peaksOf(blob).then((peaks) => current && setFound(peaks));
    return () => {
      current = false;
    };
  }, [blob]);
  useEffect(() => {
    if (!found || !canvas.current) return undefined;
    const redraw = () => canvas.current && draw(canvas.current, found.peaks);
    redraw();
    const observer = new ResizeObserver(redraw);
    observer.observe(canvas.current);
    window.addEventListener("studio:theme", redraw);
    return () => {
      observer.disconnect();
      window.removeEventListener("studio:theme", redraw);
    };
  }, [found]);
  if (found === null) return html`<p class="quiet">This browser shows no waveform for this file.</p>`;
  return html`<canvas class="waveform" ref=${canvas} role="img"
    aria-label=${found ? `Waveform of ${duration(found.seconds)} of sound` : "Waveform, being drawn"}></canvas>`;
}

function draw(canvas, peaks) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.fillStyle = getComputedStyle(canvas).color;
  const loudest = Math.max(...peaks, 0.01);
  const step = width / peaks.length;
  peaks.forEach((peak, index) => {
    const bar = Math.max(1.5, (peak / loudest) * (height - 4));
    context.fillRect(index * step, (height - bar) / 2, Math.max(1, step * 0.62), bar);
  });
}
