// The call's page: waveform over the recording, and a transcript that plays where it is clicked.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const player = document.getElementById("player");
  const seekers = document.querySelectorAll("[data-seek]");

  for (const form of document.querySelectorAll("form[data-confirm]")) {
    form.addEventListener("submit", (event) => {
      if (!window.confirm(form.dataset.confirm)) event.preventDefault();
    });
  }
  if (!player) {
    for (const seeker of seekers) seeker.disabled = true;
    return;
  }
  drawWaveform(player);
  for (const seeker of seekers) {
    seeker.addEventListener("click", () => {
      player.currentTime = Number(seeker.dataset.seek);
      player.play();
    });
  }
  const turns = [...document.querySelectorAll(".call-turn")];
  player.addEventListener("timeupdate", () => {
    for (const turn of turns) {
      const now = player.currentTime >= Number(turn.dataset.start) && player.currentTime * 1000 <= Number(turn.dataset.endMs);
      turn.classList.toggle("call-now", now);
    }
  });
});

function drawWaveform(player) {
  const holder = document.getElementById("waveform");
  const stored = document.getElementById("recording-peaks");
  const peaks = stored ? JSON.parse(stored.textContent) : [];
  if (!peaks.length || !window.WaveSurfer) {
    holder.remove();
    document.querySelector(".call-legend")?.remove();
    return;
  }
  const colour = (name) => getComputedStyle(holder).getPropertyValue(name).trim();
  window.WaveSurfer.create({
    container: holder,
    media: player,
    peaks,
    duration: Number(holder.dataset.durationMs) / 1000,
    height: 44,
    cursorColor: colour("--ink"),
    splitChannels: peaks.map((_, index) => ({
      waveColor: colour(index ? "--agent" : "--caller"),
      progressColor: colour("--quiet"),
    })),
  });
}
