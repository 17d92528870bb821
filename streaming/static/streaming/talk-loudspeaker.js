// Audio worklet: plays mu-law 8 kHz in order and says which checkpoints have really been played.
"use strict";

const RATE = 8000;

// ITU-T G.711
const DECODED = Float32Array.from({ length: 256 }, (_, code) => {
  const bits = ~code & 0xff;
  const magnitude = ((((bits & 0x0f) << 3) + 132) << ((bits >> 4) & 7)) - 132;
  return (bits & 0x80 ? -magnitude : magnitude) / 32768;
});

class Loudspeaker extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = []; // Uint8Array of audio, or the name of a checkpoint
    this.at = 0;
    this.step = 1;
    this.last = 0;
    this.next = 0;
    this.port.onmessage = ({ data }) => {
      if (data.audio) this.queue.push(new Uint8Array(data.audio));
      else if (data.checkpoint !== undefined) this.queue.push(data.checkpoint);
      else if (data.clear) {
        this.queue = [];
        this.at = 0;
      }
    };
  }

  // The next 8 kHz sample; 0 when nothing is queued.
  sample() {
    while (this.queue.length) {
      const head = this.queue[0];
      if (typeof head === "string") {
        this.port.postMessage({ played: head });
      } else if (this.at < head.length) {
        return DECODED[head[this.at++]];
      }
      this.queue.shift();
      this.at = 0;
    }
    return 0;
  }

  process(_inputs, outputs) {
    const output = outputs[0][0];
    for (let i = 0; i < output.length; i++) {
      this.step += RATE / sampleRate;
      while (this.step >= 1) {
        this.step -= 1;
        this.last = this.next;
        this.next = this.sample();
      }
      output[i] = this.last + (this.next - this.last) * this.step;
    }
    return true;
  }
}

registerProcessor("loudspeaker", Loudspeaker);
