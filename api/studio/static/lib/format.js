// Text forms of sizes, times and names, and the words for statuses, phases and job types.

export function bytes(number) {
  if (number === null || number === undefined) return "unknown size";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = number;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "unknown";
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129_600) return `${(seconds / 3600).toFixed(1)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

export function clock(seconds) {
  const whole = Math.max(0, seconds || 0);
  const minutes = Math.floor(whole / 60);
  return `${minutes}:${(whole - minutes * 60).toFixed(2).padStart(5, "0")}`;
}

const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
export const dateTime = (text) => (text ? DATE.format(new Date(text)) : "");

export function ago(text) {
  if (!text) return "";
  const seconds = (Date.now() - new Date(text).getTime()) / 1000;
  return seconds < 5 ? "now" : `${duration(Math.round(seconds)).replace(".0 ", " ")} ago`;
}

export const words = (name) => String(name).replace(/_/g, " ");
export const capitalized = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const typeName = (name) => capitalized(words(name)).replace("Lip sync", "Lip-sync");

// Names of a job's input files, from the name of its run: "lip_sync: anna.mp4, hello.wav (1f0c9d2e)".
export function inputNames(job) {
  const names = (String(job.name || "").match(/^\w+: (.*) \([^()]*\)$/s) || [])[1] || "";
  return job.part && names.startsWith(`${job.part}, `) ? names.slice(job.part.length + 2) : names === job.part ? "" : names;
}

export const STATUS_TEXT = {
  queued: "Queued",
  scheduled: "Scheduled",
  running: "Running",
  succeeded: "Succeeded",
  failed: "Failed",
  canceled: "Canceled",
  aborted: "Aborted",
};

// What people see of a name that others chose: one line, without controls that reorder or break text.
export function plain(text, limit = 300) {
  const shown = String(text ?? "").replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, " ");
  return shown.length > limit ? `${shown.slice(0, limit)}…` : shown;
}
