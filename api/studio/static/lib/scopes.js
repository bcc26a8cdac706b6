// Scopes of the key of this tab, so that an action which the server would refuse is not offered.

import { useEffect, useState } from "./preact.js";
import { request } from "./api.js";

let known = null;

window.addEventListener("studio:key", () => {
  known = null;
});

// Returns the missing scope, "" if the key has it or that is not known: then the server decides.
export function useMissingScope(scope) {
  const [scopes, setScopes] = useState(null);
  useEffect(() => {
    let current = true;
    known ||= request("/v1/key").then((caller) => caller.scopes, () => null);
    known.then((found) => current && setScopes(found));
    return () => {
      current = false;
    };
  }, []);
  return scope && scopes && !scopes.includes(scope) ? scope : "";
}
