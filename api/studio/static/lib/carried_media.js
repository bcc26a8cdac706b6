// Files chosen for one job type, offered again when the user changes the type.

import { rememberedFile } from "./uploads.js";

const KINDS = { video: "picture", image: "picture", audio: "sound" };
let carried = {};

export function carryMedia(name, reference) {
  if (KINDS[name]) carried[KINDS[name]] = reference;
}

export const forgetMedia = () => {
  carried = {};
};

// Returns values for the media fields of a form; a photo field takes no video.
export function carriedValues(fields) {
  const found = {};
  for (const field of fields) {
    const reference = carried[KINDS[field.name]];
    const file = rememberedFile(reference);
    if (field.kind === "media" && file && (field.name !== "image" || file.type.startsWith("image/"))) found[field.name] = reference;
  }
  return found;
}
