// Times are the server's; only how long ago something was is kept true here.
"use strict";

function ago(at) {
  const gap = (Date.now() - at.getTime()) / 1000;
  const size = Math.abs(gap);
  const [unit, name] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(
    ([seconds]) => size >= seconds || seconds === 1,
  );
  const words = `${Math.floor(size / unit)} ${name}`;
  return gap >= 0 ? `${words} ago` : `in ${words}`;
}

function refreshAges(root) {
  for (const element of root.querySelectorAll("time[data-ago]")) {
    const at = new Date(element.dateTime);
    if (!Number.isNaN(at.getTime())) element.textContent = ago(at);
  }
}

// What is new is worked into what is there: focus, open details and scroll stay. What a reader
// opened, closed or selected counts more than what the server thinks of it.
Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) =>
  !(name === "open" && node.tagName === "DETAILS") && name !== "checked";

// A log that follows stays at its end, unless the reader has scrolled away from it.
const NEAR = 24; // pixels
const scrolledAway = new WeakSet();
const logs = (root) => root.querySelectorAll("pre[data-follow]");
const stick = (log) => { log.scrollTop = log.scrollHeight; };

function remember() {
  for (const log of logs(document)) {
    const left = log.scrollHeight - log.scrollTop - log.clientHeight;
    if (left < NEAR) scrolledAway.delete(log);
    else scrolledAway.add(log);
  }
}

document.addEventListener("DOMContentLoaded", () => {
  refreshAges(document);
  allowSelected();
  reveal();
  logs(document).forEach(stick);
  const zone = document.getElementById("zone");
  if (zone && !zone.value) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
});
// What the address names may come after the page.
let isShown = false;
function reveal() {
  const target = isShown ? null : document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  isShown = true;
  for (let at = target.closest("details"); at; at = at.parentElement.closest("details")) at.open = true;
  target.scrollIntoView();
}

// A button for what is selected works once something is.
function allowSelected() {
  for (const form of document.querySelectorAll("form[id^=select-]")) {
    const none = !document.querySelector(`input[form="${form.id}"]:checked`);
    for (const button of form.querySelectorAll("button")) button.disabled = none;
  }
}
document.addEventListener("change", allowSelected);
addEventListener("pageshow", allowSelected);

function settle() {
  refreshAges(document);
  allowSelected();
  readPlots();
  reveal();
  for (const log of logs(document)) if (!scrolledAway.has(log)) stick(log);
}
document.addEventListener("htmx:beforeSwap", remember);
document.addEventListener("htmx:afterSwap", settle);
setInterval(() => refreshAges(document), 30000);

// Shortcuts, where nothing is being typed; /shortcuts lists them.
let afterG = false;
document.addEventListener("keydown", (event) => {
  const search = document.getElementById("search");
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  const isK = event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey);
  if (event.key === "Escape" && event.target === search) search.blur();
  if (!isK && (typing || event.ctrlKey || event.metaKey || event.altKey)) return;
  const number = event.key === "0" ? "10" : event.key;
  const page = afterG && /^\d+$/.test(number) && document.getElementById(`to-${number}`);
  afterG = event.key === "g";
  if (isK || event.key === "/") {
    event.preventDefault();
    search.focus();
    search.select();
  } else if (event.key === "?") location.assign("/shortcuts");
  else if (page) location.assign(page.href);
});

// A text is copied where the browser may; the button says so.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-of]");
  if (!button) return;
  const name = button.textContent;
  try {
    const { copy, copyOf } = button.dataset;
    await navigator.clipboard.writeText(copy ?? document.getElementById(copyOf).textContent);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Cannot copy here";
  }
  setTimeout(() => { button.textContent = name; }, 2000);
});

// A part that cannot be asked for says so instead of standing still.
document.addEventListener("htmx:sendError", (event) => {
  event.detail.elt.classList.add("stale");
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) event.detail.elt.classList.remove("stale");
});
