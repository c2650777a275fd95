// The values of a plot, by pointer and by arrow keys: a slider whose value is read out.
"use strict";

const plotAt = new Map(); // id -> number of the column that is shown

function readPlots() {
  for (const plot of document.querySelectorAll("div.plot")) {
    const last = plot.querySelectorAll(".column").length - 1;
    if (last < 0) continue;
    plot.setAttribute("role", "slider");
    plot.setAttribute("aria-valuemin", "0");
    plot.setAttribute("aria-valuemax", String(last));
    plot.nextElementSibling.hidden = false;
    showColumn(plot, plotAt.get(plot.id));
  }
}

// Without a number: what the keys do.
function showColumn(plot, number) {
  const columns = [...plot.querySelectorAll(".column")];
  const column = columns[Math.min(number, columns.length - 1)];
  for (const one of columns) one.classList.toggle("at", one === column);
  const text = column ? column.textContent : "Arrow keys or a pointer show the values.";
  plot.setAttribute("aria-valuenow", String(column ? columns.indexOf(column) : 0));
  plot.setAttribute("aria-valuetext", text);
  plot.nextElementSibling.textContent = text;
  plot.nextElementSibling.classList.toggle("hint", !column);
  if (column) plotAt.set(plot.id, columns.indexOf(column));
}

document.addEventListener("keydown", (event) => {
  const plot = event.target.closest("div.plot");
  if (!plot || event.ctrlKey || event.metaKey || event.altKey) return;
  const last = plot.querySelectorAll(".column").length - 1;
  const now = plotAt.get(plot.id);
  const next = {
    ArrowRight: (now ?? -1) + 1, ArrowUp: (now ?? -1) + 1,
    ArrowLeft: (now ?? last + 1) - 1, ArrowDown: (now ?? last + 1) - 1,
    Home: 0, End: last,
  }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  showColumn(plot, Math.max(0, Math.min(last, next)));
  plot.querySelector(".at").scrollIntoView({ block: "nearest", inline: "nearest" });
});

document.addEventListener("pointerover", (event) => {
  const column = event.target.closest(".column");
  if (!column) return;
  showColumn(column.closest("div.plot"), [...column.parentNode.children].indexOf(column));
});

document.addEventListener("DOMContentLoaded", readPlots);
