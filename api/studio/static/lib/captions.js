// Captions of a result: its own caption file, those of jobs it comes from or belongs to, or the spoken text.

import { filePath, jobPath, request, send } from "./api.js";

const CAPTION_FILE = /\.(vtt|srt)$/i;
const ASSET = /^asset:\/\/([0-9a-f]{32})$/;
const JOB_INPUT = /^job:\/\/([0-9a-f-]{36})/;
const MAX_TEXT = 1_000_000;

// Returns the sources, best first, as { id, title, read }; read resolves with WebVTT text.
export async function captionSources(job, body, signal) {
  const found = captionFiles(job.id, Object.keys(job.result?.files || {}), "");
  const [lineage, siblings] = await Promise.all([
    quietly(() => request(`${jobPath(job.id)}/lineage?depth=5`, { signal })),
    job.part_of ? quietly(() => request(`/v1/jobs?part_of=${job.part_of}&type=transcribe&limit=20`, { signal })) : null,
  ]);
  for (const file of lineage?.lineage.inputs || []) {
    const asset = String(file.given).match(ASSET);
    if (asset && CAPTION_FILE.test(file.name)) found.push(fileSource(`/v1/assets/${asset[1]}`, file.name));
  }
  for (const one of lineage?.ancestors || []) {
    if (one.lineage?.type === "transcribe") found.push(...captionFiles(one.job, one.lineage.outputs.map((file) => file.name), "transcript: "));
  }
  for (const one of siblings?.jobs || []) {
    if (one.status === "succeeded") found.push(...captionFiles(one.id, Object.keys(one.result?.files || {}), "transcript: "));
  }
  const known = new Set();
  const sources = found.filter((one) => !known.has(one.id) && known.add(one.id));
  const text = await spokenText(job, body, lineage, signal);
  const seconds = job.result?.speech_s || job.result?.duration_s;
  if (text && seconds) sources.push({ id: "text", title: "spoken text (estimated times)", read: async () => estimatedCaptions(text, seconds) });
  return sources;
}

// A transcript has the same captions in two formats; one is enough.
function captionFiles(job, names, prefix) {
  const files = names.filter((name) => CAPTION_FILE.test(name));
  const chosen = files.filter((name) => /\.vtt$/i.test(name));
  return (chosen.length ? chosen : files).map((name) => fileSource(filePath(job, name), `${prefix}${name}`));
}

function fileSource(path, title) {
  return { id: path, title, read: async () => vttOf((await (await send(path, { headers: { Accept: "*/*" } })).text()).slice(0, MAX_TEXT)) };
}

// The text that a voice spoke: of this job, or of the speech job whose sound it uses.
async function spokenText(job, body, lineage, signal) {
  if (typeof body?.text === "string" && body.text) return body.text;
  const steps = body?.steps || [];
  const step = steps.find((one) => one.type === "speech" && one.job?.text);
  if (step) return step.job.text;
  const input = (lineage?.lineage.inputs || []).map((file) => String(file.given).match(JOB_INPUT)).find(Boolean);
  const speech = (lineage?.ancestors || []).find((one) => one.job === input?.[1] && one.lineage?.type === "speech");
  const earlier = speech && await quietly(() => request(`${jobPath(speech.job)}/request`, { signal }));
  return earlier?.body.text || "";
}

async function quietly(read) {
  try {
    return await read();
  } catch {
    return null;
  }
}

// SRT differs from WebVTT by its header and by the comma in times.
export function vttOf(text) {
  const plain = text.replace(/^\uFEFF/, "").replace(/\r\n?/g, "\n");
  if (plain.startsWith("WEBVTT")) return plain;
  return `WEBVTT\n\n${plain.replace(/(\d\d:\d\d:\d\d),(\d\d\d)/g, "$1.$2")}`;
}

// Sentences of a text, each for the share of the time that its length suggests.
export function estimatedCaptions(text, seconds) {
  const sentences = text.replace(/\s+/g, " ").trim().match(/[^.!?。！？]+[.!?。！？]*["'”’)]*\s*/g) || [text];
  const total = sentences.reduce((sum, one) => sum + one.length, 0);
  let start = 0;
  const cues = sentences.map((sentence) => {
    const end = start + (sentence.length / total) * seconds;
    const cue = `${vttTime(start)} --> ${vttTime(end)}\n${escaped(sentence.trim())}\n`;
    start = end;
    return cue;
  });
  return `WEBVTT\n\n${cues.join("\n")}`;
}

const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function vttTime(seconds) {
  const whole = Math.floor(seconds);
  const pad = (number, digits = 2) => String(number).padStart(digits, "0");
  return `${pad(Math.floor(whole / 3600))}:${pad(Math.floor(whole / 60) % 60)}:${pad(whole % 60)}.${pad(Math.floor((seconds - whole) * 1000), 3)}`;
}
