// Addresses of media that elements can read.

import { useEffect, useState } from "./preact.js";
import { mediaUrl } from "./api.js";

// Address of a media file that <video> and <img> can read; revoked when the file changes.
export function useMediaUrl(path) {
  const [url, setUrl] = useState("");
  const [problem, setProblem] = useState(null);
  useEffect(() => {
    if (!path) return undefined;
    const controller = new AbortController();
    let made = "";
    mediaUrl(path, controller.signal).then((found) => {
      made = found;
      setUrl(found);
    }, (error) => error.name !== "AbortError" && setProblem(error));
    return () => {
      controller.abort();
      if (made.startsWith("blob:")) URL.revokeObjectURL(made);
    };
  }, [path]);
  return [url, problem];
}
