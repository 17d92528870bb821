// The page of an import: while it runs, the part that moves is fetched again every second.
"use strict";

const progress = document.getElementById("progress");
const EVERY_MS = 1000;

function running() {
  return progress.querySelector("[data-status='running']") !== null;
}

let shown = "";

// Only what has changed, so that nothing is read out twice; whoever is on a link or button of it stays there.
function replace(html) {
  if (html === shown) {
    return;
  }
  shown = html;
  const key = (each) => each.getAttribute("href") ?? each.getAttribute("formaction");
  const focused = progress.contains(document.activeElement) ? key(document.activeElement) : null;
  progress.innerHTML = html;
  if (focused !== null) {
    [...progress.querySelectorAll("[href], [formaction]")].find((each) => key(each) === focused)?.focus();
  }
}

async function look() {
  try {
    const answer = await fetch(progress.dataset.url, { credentials: "same-origin" });
    if (answer.ok && !answer.redirected) {
      replace(await answer.text());
    }
  } catch {
    // The server is away for the moment; the next look finds it.
  }
  if (running()) {
    setTimeout(look, EVERY_MS);
  }
}

if (progress !== null && running()) {
  setTimeout(look, EVERY_MS);
}

// What cannot be taken back is asked for once more.
document.addEventListener("submit", (event) => {
  const asked = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (asked && !window.confirm(asked)) {
    event.preventDefault();
  }
});
