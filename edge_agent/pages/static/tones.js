/* What a packer hears: ok is short and high, an error long and low, pending is neither. */

const TONES = {
  ok: [[1760, 0.09, "sine"]],
  warn: [[988, 0.08, "sine"], [0, 0.06], [988, 0.08, "sine"]],
  error: [[220, 0.9, "square"]],
  pending: [[520, 0.07, "triangle"], [0, 0.09], [440, 0.07, "triangle"], [0, 0.09], [392, 0.12, "triangle"]],
};
const BUZZ = { ok: [60], warn: [60, 60, 60], error: [700], pending: [40, 80, 40, 80, 40] };

let context = null;

/* Browsers let a page sound only after somebody has touched it: call this from touches and keys. */
export function wake() {
  context ??= new AudioContext();
  if (context.state === "suspended") context.resume().catch(() => {});
}

export function silent() {
  return context === null || context.state !== "running";
}

/* Play a tone. What is played also stands on the page, for the eye and for tests. */
export function play(name) {
  const root = document.documentElement.dataset;
  root.tone = name;
  root.tones = String(Number(root.tones || 0) + 1);
  if (navigator.userActivation?.hasBeenActive) navigator.vibrate?.(BUZZ[name]);
  if (silent()) return;
  let at = context.currentTime + 0.005;
  for (const [hertz, seconds, wave] of TONES[name]) {
    if (hertz) sound(at, hertz, seconds, wave);
    at += seconds;
  }
}

function sound(at, hertz, seconds, wave) {
  const source = new OscillatorNode(context, { type: wave, frequency: hertz });
  const gain = new GainNode(context, { gain: 0 });
  const loud = wave === "square" ? 0.25 : 0.5;
  gain.gain.setValueAtTime(0, at);
  gain.gain.linearRampToValueAtTime(loud, at + 0.008);
  gain.gain.setValueAtTime(loud, at + seconds - 0.015);
  gain.gain.linearRampToValueAtTime(0, at + seconds);
  source.connect(gain).connect(context.destination);
  source.start(at);
  source.stop(at + seconds);
}
