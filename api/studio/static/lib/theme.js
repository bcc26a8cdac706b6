// Light or dark colours: those of the system, or the ones chosen for this browser.

const NAME = "musetalk.theme";

export const theme = () => localStorage.getItem(NAME) || "system";

export function setTheme(name) {
  if (name === "system") localStorage.removeItem(NAME);
  else localStorage.setItem(NAME, name);
  applyTheme();
}

export function applyTheme() {
  const dark = theme() === "dark" || (theme() === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  window.dispatchEvent(new Event("studio:theme"));
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);
