// Times are sent in UTC; here they are told in the reader's zone as well.
"use strict";

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

function ago(at) {
  const gap = (Date.now() - at.getTime()) / 1000;
  const size = Math.abs(gap);
  const [unit, name] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(
    ([seconds]) => size >= seconds || seconds === 1,
  );
  const words = `${Math.floor(size / unit)} ${name}`;
  return gap >= 0 ? `${words} ago` : `in ${words}`;
}

function localise(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    if ("ago" in element.dataset) element.textContent = ago(at);
    else element.textContent = "full" in element.dataset ? full.format(at) : clock.format(at);
  }
  for (const element of root.querySelectorAll("[data-zone]")) {
    element.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
  }
}

// A log that follows stays at its end, unless the reader has scrolled away from it.
function stick(root) {
  for (const log of root.querySelectorAll("pre[data-follow]")) log.scrollTop = log.scrollHeight;
}

document.addEventListener("DOMContentLoaded", () => {
  localise(document);
  stick(document);
});
document.addEventListener("htmx:afterSettle", (event) => {
  localise(document);
  stick(event.detail.elt.parentElement || document);
});
setInterval(() => localise(document), 30000);

// A part that cannot be asked for says so instead of standing still.
document.addEventListener("htmx:sendError", (event) => {
  event.detail.elt.classList.add("stale");
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) event.detail.elt.classList.remove("stale");
});
