// Light, dark, or as the system has it.

const KEY = "deem.theme";
const NEXT = { system: "dark", dark: "light", light: "system" };

/** Icon and words of each. */
export const THEMES = {
  system: { icon: "contrast", label: "Colours: as the system" },
  dark: { icon: "moon", label: "Colours: dark" },
  light: { icon: "sun", label: "Colours: light" },
};

export function theme() {
  return localStorage.getItem(KEY) ?? "system";
}

export function applyTheme() {
  const chosen = theme();
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}

export function nextTheme() {
  localStorage.setItem(KEY, NEXT[theme()] ?? "system");
  applyTheme();
}
