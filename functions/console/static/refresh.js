// One request asks for all parts of the page that are due; the answer has those that changed.
"use strict";

// Who touched nothing for so long looks away: functions may sleep in between.
const AWAY_MS = 10 * 60 * 1000;
const AWAY_S = 300;
// One that hangs, as after a laptop slept, must not stop those after it.
const TIMEOUT_MS = 10 * 1000;
let touched = Date.now();
let asking = false;
const asked = new WeakMap(); // element -> when, in seconds

// Parts of one period are due in the same second, so they come with one request, and what several
// pages ask for at once is read once.
function isDue(part, now, isAway) {
  const period = isAway ? AWAY_S : Number(part.dataset.refresh);
  if (!asked.has(part)) asked.set(part, now);
  return Math.floor(now / period) > Math.floor(asked.get(part) / period);
}

async function refresh(all) {
  if (document.hidden || asking) return;
  const now = Math.floor(Date.now() / 1000);
  const isAway = Date.now() - touched > AWAY_MS;
  const parts = [...document.querySelectorAll("[data-refresh]")];
  const due = parts.filter((part) => isDue(part, now, isAway) || all);
  if (!due.length) return;
  asking = true;
  for (const part of due) asked.set(part, now);
  try {
    const have = due.map((part) => `${part.dataset.part}=${part.dataset.digest}`).join(" ");
    const answer = await fetch(document.body.dataset.changed, {
      headers: { "X-Panels": have, "HX-Request": "true" },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (answer.status === 401) location.reload(); // the whole page has to sign in
    if (!answer.ok) throw new Error(`${answer.status}`);
    if (answer.status !== 204) show(await answer.text());
    for (const part of due) part.classList.remove("stale");
  } catch {
    // What cannot be asked for says so instead of standing still.
    for (const part of due) part.classList.add("stale");
  } finally {
    asking = false;
  }
}

function show(html) {
  remember();
  for (const part of new DOMParser().parseFromString(html, "text/html").body.children) {
    const old = document.getElementById(part.id);
    if (!old) continue;
    Idiomorph.morph(old, part, { morphStyle: "outerHTML" });
    htmx.process(document.getElementById(part.id));
  }
  settle();
}

function tick() {
  refresh(false);
  setTimeout(tick, 1000 - (Date.now() % 1000));
}

for (const kind of ["pointermove", "keydown", "scroll", "touchstart"]) {
  document.addEventListener(kind, () => {
    const wasAway = Date.now() - touched > AWAY_MS;
    touched = Date.now();
    if (wasAway) refresh(true);
  }, { passive: true });
}
document.addEventListener("visibilitychange", () => refresh(true));
document.addEventListener("DOMContentLoaded", tick);
