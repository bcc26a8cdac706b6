// Output files of a job: names, kinds and where they are stored.

const KINDS = [
  ["video", /\.(mp4|mov|webm|mkv|m4v)$/i],
  ["audio", /\.(mp3|wav|flac|ogg|m4a|opus)$/i],
  ["image", /\.(png|jpe?g|webp|gif|avif|bmp)$/i],
  ["text", /\.(txt|srt|vtt|tsv|json|csv|jsonl)$/i],
];
const FILE_FIELDS = ["video", "audio", "image", "picture"];

export const kindOf = (name) => (KINDS.find(([, pattern]) => pattern.test(name)) || ["other"])[0];

// Names of the output files, the main file first.
export function outputNames(job) {
  const result = job.result || {};
  const hasMain = FILE_FIELDS.some((field) => result[field]?.uri);
  const others = Object.keys(result.files || {}).concat(Object.keys(result.provenance?.sidecars || {}));
  return [...new Set([...(hasMain && result.name ? [result.name] : []), ...others])];
}

// Returns the record of a file in the result: address, size, version.
export const storedOf = (job, name) => job.result.files?.[name] || job.result.provenance?.sidecars?.[name]
  || (job.result.name === name && FILE_FIELDS.map((field) => job.result[field]).find((one) => one?.uri)) || {};
