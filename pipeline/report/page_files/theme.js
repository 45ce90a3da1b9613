// Light, dark, or as the system has it; charts are drawn again when it changes.

const THEMES = {
  auto: { sign: "◐", label: "Colours: as the system has them" },
  light: { sign: "☀", label: "Colours: light" },
  dark: { sign: "☾", label: "Colours: dark" },
};
const themeListeners = [];

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// A colour with an opacity; the page's own are all #rrggbb.
function faded(hex, opacity) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${red},${green},${blue},${opacity})`;
}

function onThemeChange(listener) {
  themeListeners.push(listener);
}

function setTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  byId("theme-sign").textContent = THEMES[name].sign;
  byId("theme").setAttribute("aria-label", THEMES[name].label);
  byId("theme").title = THEMES[name].label;
  themeListeners.forEach((listener) => listener());
}

function startTheme() {
  let current = "auto";
  byId("theme").addEventListener("click", () => {
    const names = Object.keys(THEMES);
    current = names[(names.indexOf(current) + 1) % names.length];
    setTheme(current);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(current));
}
