/* What a scanner in keyboard mode types, as whole codes; knows no page and no agent.

   Text comes in one of three ways, depending on the device: as keys to the focused field, as keys
   to nothing in particular (the document), or as text given to the field without any key (Android
   says key 229). All three end in one buffer; Enter or Tab ends the code, never a pause. */

const IDLE_MS = 1500;
const CHARS_MAX = 4096;
const GS = "\u001d";

export class Wedge {
  /* `done(code)` for a whole code, `broken(reason)` for one that must not count. */
  constructor(field, done, broken) {
    this.field = field;
    this.done = done;
    this.broken = broken;
    this.buffer = "";
    this.timer = 0;
    const early = window.early ? window.early() : [];
    document.addEventListener("keydown", (event) => this.key(event), true);
    field.addEventListener("beforeinput", (event) => this.before(event));
    field.addEventListener("input", () => this.late());
    field.addEventListener("compositionend", () => this.late());
    for (const one of early) this.press(one.key, one.code, one.ctrl, one.meta);
    this.late();
    field.focus({ preventScroll: true });
  }

  key(event) {
    if (event.isComposing || event.repeat || this.elsewhere(event.target)) return;
    if (this.press(event.key, event.keyCode, event.ctrlKey, event.metaKey)) event.preventDefault();
  }

  /* One key; true when it was ours. The Alt flag is set on every key of some devices. */
  press(key, code, ctrl, meta) {
    if (code === 229 || key === "Unidentified") return false;
    if (key === "Enter" || key === "Tab") this.finish();
    else if (ctrl && key === "]") this.take(GS);
    else if (ctrl || meta || [...key].length !== 1) return false;
    else this.take(key);
    return true;
  }

  before(event) {
    if (event.inputType === "insertLineBreak" || event.inputType === "insertParagraph") {
      event.preventDefault();
      this.finish();
    } else if (event.cancelable && !event.isComposing && event.data) {
      event.preventDefault();
      this.take(event.data);
    }
  }

  /* Text that could not be stopped on its way into the field. */
  late() {
    const text = this.field.value;
    if (!text) return;
    this.field.value = "";
    this.take(text);
  }

  take(text) {
    for (const char of text) {
      if (char === "\r" || char === "\n" || char === "\t") this.finish();
      else if (this.buffer.length < CHARS_MAX) this.buffer += char;
    }
    clearTimeout(this.timer);
    this.timer = this.buffer ? setTimeout(() => this.drop(), IDLE_MS) : 0;
  }

  finish() {
    const code = this.buffer + this.field.value;
    this.forget();
    if (code) this.done(code);
  }

  drop() {
    this.forget();
    this.broken("incomplete");
  }

  forget() {
    clearTimeout(this.timer);
    this.buffer = "";
    this.field.value = "";
  }

  elsewhere(target) {
    return target !== this.field && target instanceof HTMLInputElement;
  }
}
