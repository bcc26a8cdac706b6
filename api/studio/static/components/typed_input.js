// Text input that keeps what is being typed while the page around it is rendered again.

import { html, useLayoutEffect, useRef } from "../lib/preact.js";

const key = (value) => JSON.stringify(value) ?? "";

/**
 * Show `value`, and report what the user types.
 *
 * A controlled input would be set to its value at each rendering, also by a timer or by an answer of the
 * server: text that is not reported yet would be lost, and `1.05` could not be typed, because `1.0` is
 * shown as `1`. So the text is set only when the value is not the one that the input itself reported.
 *
 * @param tag   element: input or textarea
 * @param value current value; undefined or null shows an empty input
 * @param show  returns the text of a value
 * @param read  returns the value of an event of the input
 * @param set   takes the value that was read
 * @param on    event that reports: onInput at each key, onChange when the input is left or Enter is pressed
 */
export function TypedInput({ tag = "input", value, show = String, read, set, on = "onInput", ...attributes }) {
  const element = useRef(null);
  const known = useRef(null);
  useLayoutEffect(() => {
    if (known.current === key(value)) return;
    known.current = key(value);
    element.current.value = value === undefined || value === null ? "" : show(value);
  }, [key(value)]);
  const report = (event) => {
    const next = read(event);
    known.current = key(next);
    set(next);
  };
  return html`<${tag} ref=${element} ...${attributes} ...${{ [on]: report }} />`;
}
