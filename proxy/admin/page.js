
// Without this script the page is the same, fetched anew as a whole every five seconds.
"use strict";
const units = [["d", 86400], ["h", 3600], ["min", 60]];
let ahead = Date.now() / 1000 - Number(document.querySelector("main").dataset.now);

function duration(seconds) {
  for (const [unit, size] of units) {
    if (seconds >= 2 * size || (unit === "min" && seconds >= size)) return `${Math.floor(seconds / size)} ${unit}`;
  }
  return `${Math.max(0, Math.floor(seconds))} s`;
}

const words = {
  left: seconds => duration(seconds),
  next: seconds => seconds > 0 ? `in ${duration(seconds)}` : "now",
  last: seconds => `${duration(-seconds)} ago`,
};

function count() {
  const now = Date.now() / 1000 - ahead;
  for (const [what, say] of Object.entries(words)) {
    for (const place of document.querySelectorAll(`[data-${what}]`)) {
      place.textContent = say(Number(place.dataset[what]) - now);
    }
  }
}

async function renew() {
  const old = document.querySelector("main");
  try {
    const answer = await fetch("/", {cache: "no-store"});
    if (!answer.ok) throw new Error(answer.status);
    const text = await answer.text();
    const page = new DOMParser().parseFromString(text.slice(text.indexOf("<main"), text.indexOf("</main>")), "text/html");
    const main = page.querySelector("main");
    if (!old.querySelector("button:active")) {  // a press would be lost with its button: it is for the next time then
      const focused = document.activeElement?.id;
      ahead = Date.now() / 1000 - Number(main.dataset.now);
      old.replaceWith(document.adoptNode(main));
      document.title = main.dataset.title;
      if (focused) document.getElementById(focused)?.focus();
    }
  } catch {
    old.classList.add("lost");
    document.title = "auth-sidecar: no answer";
  }
  setTimeout(renew, 2000);
}

setInterval(count, 1000);
setTimeout(renew, 2000);
