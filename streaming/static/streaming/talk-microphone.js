// Audio worklet: the microphone as mu-law frames of 160 bytes (20 ms at 8 kHz); silence while there is no input.
"use strict";

const RATE = 8000;
const FRAME = 160;
const TAPS = 63;

// Low-pass at 3.6 kHz (windowed sinc), so that nothing folds back when 48 kHz becomes 8 kHz.
function lowPass(rate) {
  const taps = new Float32Array(TAPS);
  const cut = 3600 / rate;
  let sum = 0;
  for (let i = 0; i < TAPS; i++) {
    const x = i - (TAPS - 1) / 2;
    const sinc = x === 0 ? 2 * cut : Math.sin(2 * Math.PI * cut * x) / (Math.PI * x);
    taps[i] = sinc * (0.54 - 0.46 * Math.cos((2 * Math.PI * i) / (TAPS - 1)));
    sum += taps[i];
  }
  return taps.map((tap) => tap / sum);
}

// ITU-T G.711
function muLaw(sample) {
  let value = Math.max(-32635, Math.min(32635, Math.round(sample * 32767)));
  const sign = value < 0 ? 0x80 : 0;
  value = Math.abs(value) + 132;
  let exponent = 7;
  for (let mask = 0x4000; (value & mask) === 0 && exponent > 0; mask >>= 1) exponent--;
  return ~(sign | (exponent << 4) | ((value >> (exponent + 3)) & 0x0f)) & 0xff;
}

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.taps = lowPass(sampleRate);
    this.past = new Float32Array(TAPS);
    this.at = 0;
    this.due = 0;
    this.frame = new Uint8Array(FRAME);
    this.filled = 0;
    this.energy = 0;
  }

  process(inputs) {
    const input = inputs[0][0];
    const count = input ? input.length : 128;
    for (let i = 0; i < count; i++) {
      this.past[this.at] = input ? input[i] : 0;
      this.at = (this.at + 1) % TAPS;
      this.due += RATE;
      if (this.due >= sampleRate) {
        this.due -= sampleRate;
        this.take();
      }
    }
    return true;
  }

  take() {
    let sample = 0;
    for (let i = 0; i < TAPS; i++) sample += this.taps[i] * this.past[(this.at + i) % TAPS];
    this.energy += sample * sample;
    this.frame[this.filled++] = muLaw(sample);
    if (this.filled === FRAME) {
      this.port.postMessage({ frame: this.frame.slice(), level: Math.sqrt(this.energy / FRAME) });
      this.filled = 0;
      this.energy = 0;
    }
  }
}

registerProcessor("microphone", Microphone);
