/* The screen at a bench: its scanner speaks to the agent, this shows and sounds what it answered. */

import { alarms, answerBox, atWork, clockLine, el, lines, redNotice, step, stopNotice, tick } from "./draw.js";
import { play, silent, wake } from "./tones.js";

const SILENT_MS = 4500;
const main = document.getElementById("main");
const { station, token } = document.body.dataset;
const page = { view: null, seen: -1, stops: 0, ahead: 0, lost: false, heard: performance.now() };
let stream = null;

function nowMs() {
  return performance.now() + page.ahead;
}

function connect() {
  stream?.close();
  page.heard = performance.now();
  const made = (stream = new EventSource(`/station/${station}/events`));
  made.addEventListener("beat", heard);
  made.addEventListener("state", (event) => {
    heard();
    take(JSON.parse(event.data));
  });
  made.addEventListener("error", () => {
    if (made !== stream) return;
    made.close();
    lose();
    setTimeout(connect, 1000);
  });
}

function heard() {
  page.heard = performance.now();
  if (!page.lost) return;
  page.lost = false;
  page.seen = -1;
  draw();
}

function lose() {
  if (page.lost) return;
  page.lost = true;
  play("pending");
  draw();
}

function take(view) {
  const n = view.answer?.n ?? 0;
  const fresh = page.seen >= 0 && n !== page.seen && view.answer;
  if (fresh) play(view.answer.tone);
  else if (alarms(view) > page.stops) play("error");
  page.seen = n;
  page.stops = alarms(view);
  page.view = view;
  page.ahead = view.now_ms - performance.now();
  draw();
}

function draw() {
  document.body.className = page.lost ? "lost" : "";
  const view = page.view;
  if (!view) return main.replaceChildren(el("p", { class: "hint" }, "连不上代理，正在重试…"));
  if (view.stops.length && !page.lost) return main.replaceChildren(top(view), ...view.stops.map(stop));
  const red = page.lost ? null : redNotice(view, () => {});
  if (red) return main.replaceChildren(top(view), posted(red, "confirm_notice", view.task.shipment));
  return main.replaceChildren(top(view), answer(view), side(view));
}

function top(view) {
  const troubles = [
    view.online ? "" : "云端断网，照常作业",
    view.full ? "存储已满，扫描暂停" : "",
    view.printer && view.printer.level !== "ok" ? `${view.printer.name}：${view.printer.reason_zh || "打印机状态未知"}` : "",
  ];
  const sound = silent() ? el("button", { type: "button", class: "small", press: () => (wake(), setTimeout(draw, 150)) }, "开声音") : null;
  return el("header", {}, el("b", {}, `工位 ${view.id}`), el("span", {}, page.lost ? "与代理断开：屏幕上的不是最新" : troubles.filter(Boolean).join(" · ")), sound);
}

function answer(view) {
  if (page.lost) return el("section", { class: "answer pending", role: "alert" }, el("p", {}, "等待代理…"));
  const last = view.answer ?? (view.said && { tone: view.said.tone, light: LIGHTS[view.said.tone], text_zh: view.said.text });
  return answerBox(last, "请扫面单、任务码或装车码");
}

const LIGHTS = { ok: "green", warn: "yellow", error: "red", pending: "" };

function stop(task) {
  return posted(stopNotice(task, () => {}), "confirm_stop", task.shipment);
}

/* The same notice with a form in the place of its button: a press that needs no script. */
function posted(notice, act, shipment) {
  const button = notice.querySelector("button");
  const fields = { token, act, shipment, back: station };
  const inputs = Object.entries(fields).map(([name, value]) => el("input", { type: "hidden", name, value }));
  button.replaceWith(el("form", { method: "post", action: "/act" }, ...inputs, el("button", { class: "danger wide" }, button.textContent)));
  return notice;
}

function side(view) {
  if (!atWork(view)) return el("section", { class: "side" }, el("h2", {}, view.mode === "load" ? `装车 ${view.dock}：逐个扫面单` : `待拣 ${view.waiting.length} 单`), ...view.waiting.map(waiting));
  return el(
    "section",
    { class: "side" },
    el("p", { class: "head" }, el("b", {}, step(view)), el("span", { class: "code" }, view.task.waybill || view.task.shipment), clockLine(view.task.ship_by_ms, nowMs())),
    view.task.notice ? el("p", { class: "notice" }, `${view.task.notice}（确认后扫 $$OK）`) : null,
    view.do === "serial" || view.do === "gift" ? el("p", { class: "wants" }, view.want_zh) : null,
    lines(view),
  );
}

function waiting(one) {
  return el("p", { class: "waiting" }, el("b", { class: "shelf" }, one.first || "无库位"), el("span", {}, `${one.units} 件`), el("span", { class: "code" }, one.waybill || one.shipment), clockLine(one.ship_by_ms, nowMs()));
}

addEventListener("pointerdown", wake);
addEventListener("keydown", wake);
setInterval(() => page.view && tick(nowMs()), 5000);
setInterval(() => {
  if (performance.now() - page.heard > SILENT_MS) {
    lose();
    connect();
  }
}, 500);
connect();
