/* The handheld's line to its agent: numbered scans sent until answered, and the agent's pushes.

   It never says a scan counted before the agent did. While the agent is gone it keeps at most the
   scans of the step at hand; each has a number, so that one sent twice counts once. */

const ANSWER_MS = 4000;
const SLOW_MS = 800;
const SILENT_MS = 4500;
const RETRY_MS = [300, 700, 1500, 3000];
const FAULTS_MAX = 3;
export const KEPT_MAX = 20;

export class Refusal extends Error {
  constructor(told) {
    super(told.zh);
    this.code = told.code;
    this.zh = told.zh;
  }
}

/* The agent failed at this very request; it may have counted or not. */
export class Fault extends Error {}

/* One request; its JSON. Throws `Refusal` for a no of the agent, anything else when it is gone. */
export async function ask(path, body) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), ANSWER_MS);
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: stop.signal,
      cache: "no-store",
    });
    if (response.ok) return await response.json();
    if (response.status === 403 || response.status === 422) throw new Refusal(await response.json());
    if (response.status === 500) throw new Fault();
    throw new Error(`status ${response.status}`);
  } finally {
    clearTimeout(timer);
  }
}

export class Line {
  /* `on` has the page's side: lost(), back(), slow(), answered(reply, item), refused(error, item),
     state(view), over(). */
  constructor(on) {
    this.on = on;
    this.lost = false;
    this.heard = performance.now();
    this.page = sessionStorage.getItem("page") || crypto.getRandomValues(new Uint32Array(4)).join("-");
    sessionStorage.setItem("page", this.page);
    this.kept = JSON.parse(sessionStorage.getItem("kept") || "[]");
    this.seq = 0;
    this.stream = null;
    this.active = false;
    this.sending = false;
    setInterval(() => this.look(), 500);
    addEventListener("offline", () => this.lose());
    addEventListener("online", () => this.reopen());
    document.addEventListener("visibilitychange", () => document.hidden || this.reopen());
  }

  /* The agent knows this page up to `seq`. */
  begin(seq) {
    this.seq = Math.max(seq, ...this.kept.map((item) => item.seq));
    this.kept = this.kept.filter((item) => item.seq >= seq);
    this.active = true;
    this.reopen();
    this.send();
  }

  /* Put a scan or a press in line; false when there is no room for it. */
  add(item, room) {
    if (this.kept.length >= Math.min(room, KEPT_MAX)) return false;
    this.seq += 1;
    this.kept.push({ ...item, seq: this.seq, at: Math.round(performance.timeOrigin + performance.now()), page: this.page });
    this.save();
    this.send();
    return true;
  }

  forget() {
    this.kept = [];
    this.save();
  }

  save() {
    sessionStorage.setItem("kept", JSON.stringify(this.kept));
  }

  async send() {
    if (this.sending) return;
    this.sending = true;
    for (let tries = 0; this.kept.length; ) {
      const item = this.kept[0];
      const slow = setTimeout(() => this.on.slow(), SLOW_MS);
      try {
        const reply = await ask("/pda/do", item);
        this.settle(item);
        tries = 0;
        this.find();
        this.on.answered(reply, item);
      } catch (error) {
        if (error instanceof Refusal) {
          if (error.code === "session_over" || error.code === "not_paired") {
            this.on.over();
            break;
          }
          this.settle(item);
          this.on.refused(error, item);
        } else if (error instanceof Fault && tries >= FAULTS_MAX - 1) {
          this.settle(item);
          tries = 0;
          this.on.refused({ code: "fault", zh: "代理出错，不确定是否记录：请看进度再扫" }, item);
        } else {
          if (!(error instanceof Fault)) this.lose();
          await new Promise((resume) => setTimeout(resume, RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)]));
        }
      } finally {
        clearTimeout(slow);
      }
    }
    this.sending = false;
  }

  settle(item) {
    this.kept = this.kept.filter((one) => one.seq !== item.seq);
    this.save();
  }

  lose() {
    if (this.lost) return;
    this.lost = true;
    this.on.lost();
  }

  find() {
    this.heard = performance.now();
    if (!this.lost) return;
    this.lost = false;
    this.on.back();
    this.send();
  }

  look() {
    if (this.stream && performance.now() - this.heard > SILENT_MS) {
      this.lose();
      this.reopen();
    }
  }

  /* Nobody is signed in: nothing is sent and nothing awaited. */
  stop() {
    this.active = false;
    this.close();
  }

  close() {
    clearTimeout(this.again);
    this.stream?.close();
    this.stream = null;
  }

  /* Whether the agent is gone, or only our session is. */
  async check() {
    try {
      const told = await ask("/pda/open", { page: this.page, look: true });
      if (told.stage === "work") this.reopen();
      else this.on.over();
    } catch {
      this.again = setTimeout(() => this.check(), 1000);
    }
  }

  reopen() {
    if (!this.active) return;
    this.close();
    this.heard = performance.now();
    const stream = (this.stream = new EventSource("/pda/events"));
    stream.addEventListener("beat", () => this.find());
    stream.addEventListener("state", (event) => {
      this.find();
      this.on.state(JSON.parse(event.data));
    });
    stream.addEventListener("over", () => {
      this.on.over();
    });
    stream.addEventListener("error", () => {
      if (stream !== this.stream) return;
      this.close();
      this.lose();
      this.again = setTimeout(() => this.check(), 700);
    });
  }
}
