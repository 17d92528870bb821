// A phone in the browser. The protocol is documented in streaming/browser.py.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const page = document.getElementById("talk");
  const by = (id) => document.getElementById(id);
  const status = by("status");
  const partials = {};
  const lastSaid = {};
  let line = null;

  by("call").addEventListener("click", () => begin(true));
  by("call-silently").addEventListener("click", () => begin(false));
  by("hang-up").addEventListener("click", () => send({ type: "hangup" }));
  by("keypad").addEventListener("click", (event) => {
    const key = event.target.dataset.key;
    if (key) send({ type: "digit", digit: key });
  });
  by("typed").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = by("text").value.trim();
    if (text) send({ type: "text", text });
    by("text").value = "";
  });

  function send(message) {
    if (line && line.socket.readyState === WebSocket.OPEN) line.socket.send(JSON.stringify(message));
  }

  async function begin(withMicrophone) {
    setCalling(true);
    status.textContent = withMicrophone ? "Asking for the microphone …" : "Connecting …";
    let microphone = null;
    try {
      if (withMicrophone) microphone = await openMicrophone();
      line = await open(microphone);
    } catch (error) {
      if (microphone) for (const track of microphone.getTracks()) track.stop();
      status.textContent = explain(error);
      setCalling(false);
    }
  }

  function openMicrophone() {
    if (!navigator.mediaDevices) throw new DOMException("", "SecurityError");
    return navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
  }

  function explain(error) {
    return (
      {
        NotAllowedError: "The browser was not allowed to use the microphone. Allow it in the address bar, or call without one.",
        NotFoundError: "This computer has no microphone. Call without one and type.",
        SecurityError: "Browsers give the microphone only to https pages (or localhost). Call without one and type.",
      }[error.name] || `The call could not be started: ${error.message}`
    );
  }

  async function open(microphone) {
    const audio = new AudioContext();
    await audio.resume();
    await Promise.all([audio.audioWorklet.addModule(page.dataset.microphone), audio.audioWorklet.addModule(page.dataset.loudspeaker)]);
    const input = new AudioWorkletNode(audio, "microphone", { numberOfOutputs: 0 });
    const output = new AudioWorkletNode(audio, "loudspeaker", { numberOfInputs: 0, outputChannelCount: [1] });
    output.connect(audio.destination);
    if (microphone) audio.createMediaStreamSource(microphone).connect(input);

    status.textContent = "Connecting …";
    const socket = new WebSocket(page.dataset.socket);
    socket.binaryType = "arraybuffer";
    let ready = false;
    let failure = "";
    input.port.onmessage = ({ data }) => {
      by("level").value = Math.min(1, data.level * 4);
      if (ready && socket.readyState === WebSocket.OPEN) socket.send(data.frame);
    };
    output.port.onmessage = ({ data }) => send({ type: "played", name: data.played });
    socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) {
        output.port.postMessage({ audio: data }, [data]);
        return;
      }
      const message = JSON.parse(data);
      if (message.type === "checkpoint") output.port.postMessage({ checkpoint: message.name });
      else if (message.type === "clear") output.port.postMessage({ clear: true });
      else if (message.type === "partial") showPartial(message);
      else if (message.type === "turn") showTurn(message);
      else if (message.type === "error") failure = message.message;
      else if (message.type === "ready") {
        ready = true;
        by("log-link").firstElementChild.search = new URLSearchParams({ q: message.call });
        by("sandbox").hidden = !message.sandbox; // what answers may have changed since the page was loaded
        status.textContent = microphone ? "Connected: speak." : "Connected: type.";
        setConnected(true);
        by(microphone ? "hang-up" : "text").focus(); // the button that was pressed is gone
      }
    };
    socket.onclose = () => {
      input.port.onmessage = null;
      if (microphone) for (const track of microphone.getTracks()) track.stop();
      audio.close();
      line = null;
      by("level").value = 0;
      for (const role of Object.keys(partials)) dropPartial(role);
      status.textContent = failure || (ready ? "The call has ended." : "The call was refused. Reload the page; you may have been logged out.");
      by("log-link").hidden = !ready;
      const held = page.contains(document.activeElement);
      setConnected(false);
      setCalling(false);
      if (held) by("call").focus();
    };
    return { socket };
  }

  function setCalling(calling) {
    by("call").disabled = by("call-silently").disabled = calling;
    if (calling) {
      by("turns").replaceChildren();
      by("nothing").hidden = true;
      by("log-link").hidden = true;
    }
  }

  function setConnected(connected) {
    by("hang-up").hidden = !connected;
    by("call").hidden = by("call-silently").hidden = connected;
    by("keypad").disabled = !connected;
    for (const element of by("typed").querySelectorAll("input, button")) element.disabled = !connected;
  }

  function entry(role, text) {
    const item = document.createElement("li");
    item.className = `talk-${role}`;
    const who = document.createElement("strong");
    who.textContent = { caller: "You", agent: "Agent", tool: "Tool" }[role] || role;
    const words = document.createElement("span");
    words.textContent = ` ${text}`;
    item.append(who, words);
    return item;
  }

  function showPartial({ role, text, final }) {
    dropPartial(role);
    // The last partial of a turn may come after the turn itself.
    if (!text || (final && text === lastSaid[role])) return;
    partials[role] = entry(role, text);
    if (!final) partials[role].classList.add("talk-partial");
    partials[role].ariaHidden = "true"; // read aloud once, as the turn that it becomes
    by("turns").append(partials[role]);
  }

  function dropPartial(role) {
    if (partials[role]) partials[role].remove();
    delete partials[role];
  }

  function showTurn(turn) {
    dropPartial(turn.role);
    const said = turn.role === "agent" ? turn.heard || "(nothing of it was heard)" : turn.text;
    lastSaid[turn.role] = turn.text;
    const item = entry(turn.role, said + (turn.interrupted ? " — interrupted" : ""));
    const times = turn.timings || {};
    const names = { response_ms: "answered after", decision_ms: "turn decided", stt_ms: "words", llm_ms: "thought", tts_ms: "voice" };
    const parts = Object.entries(names).filter(([key]) => times[key] != null).map(([key, name]) => `${name} ${times[key]} ms`);
    if (parts.length) {
      const small = document.createElement("small");
      small.textContent = parts.join(" · ");
      item.append(small);
    }
    // What the other side is saying just now stays last.
    const running = Object.values(partials)[0];
    if (running) running.before(item);
    else by("turns").append(item);
    item.scrollIntoView({ block: "nearest" });
  }
});
