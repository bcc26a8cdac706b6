// The path below which a proxy serves the API: "" or a prefix such as "/render". This module's address contains it.
export const ROOT = new URL(import.meta.url).pathname.split("/studio/static/")[0];

// Returns the address, with the prefix, of a path as the API and the views name it.
export const rooted = (path) => (path.startsWith("/") ? ROOT + path : path);

// Returns the path without the prefix of an address that the server gave.
export function unrooted(address) {
  const { pathname, search } = new URL(address, location.href);
  return (pathname.startsWith(`${ROOT}/`) ? pathname.slice(ROOT.length) : pathname) + search;
}
