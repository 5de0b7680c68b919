/* The handheld's page: pair, PIN, then work; every scan goes to the agent, every answer is its own. */

import { alarms, answerBox, atWork, button, clockLine, el, lines, missing, redNotice, step, stopNotice, tick } from "./draw.js";
import { Line, Refusal, ask } from "./line.js";
import { counting, returns, shortPick, typed } from "./sheets.js";
import { play, silent, wake } from "./tones.js";
import { Wedge } from "./wedge.js";

const main = document.getElementById("main");
const field = document.getElementById("scan");
const CHARS_MAX = 256;
const HELD_MAX = 5;

const page = { stage: "open", view: null, answer: null, tab: "work", sheet: null, said: "", operator: "", typed: "", ahead: 0, held: [] };

const line = new Line({
  lost: () => (play("pending"), draw()),
  back: () => draw(),
  slow: () => {
    if (line.lost || page.answer?.code === "waiting") return;
    show({ tone: "pending", light: "", code: "waiting", text_zh: "等待代理确认…" });
  },
  answered: (reply, item) => {
    take(reply.view);
    show(reply.answer, item);
  },
  refused: (error, item) => show({ tone: "error", light: "red", code: error.code, text_zh: error.zh }, item),
  state: (view) => (take(view), draw()),
  over: () => (signedOut(), open()),
});

function take(view) {
  const stops = page.view ? alarms(page.view) : 0;
  page.view = view;
  page.ahead = view.now_ms - performance.now();
  if (alarms(view) > stops) play("error");
}

function nowMs() {
  return performance.now() + page.ahead;
}

function show(answer, item = null) {
  page.answer = answer;
  play(answer.tone);
  if (item?.act && answer.tone !== "error") page.sheet = null;
  draw();
}

/* A whole code from the scanner, whatever is on the screen. */
function scanned(code) {
  wake();
  if (page.stage === "pair") pair(code);
  else if (page.stage === "pin") typedPin(code);
  else if (page.stage === "open") hold(code);
  else if (code.length > CHARS_MAX) broken("too_long");
  else put({ code });
}

/* Scans that come before the agent has said where this device stands. */
function hold(code) {
  if (page.held.length < HELD_MAX) page.held.push(code);
  play("pending");
}

/* Give something to the agent; while it is gone only what the step at hand still needs. */
function put(item) {
  if (line.lost && item.act) return say("pending", "", "与代理断开，恢复后再按");
  const room = line.lost ? Math.max(1, Math.min(missing(page.view), 20)) : 20;
  if (!line.add(item, room)) return say("error", "red", line.lost ? "断线中：这一步的扫码已满，请等恢复" : "太快了，请稍等再扫");
  if (line.lost) say("pending", "", "已暂存，未确认：等代理恢复");
  return null;
}

function say(tone, light, text_zh) {
  show({ tone, light, code: "here", text_zh });
}

function broken(reason) {
  if (page.stage !== "work") return play("error");
  const words = { incomplete: "没有收到结束符，请重扫（扫描头后缀要设为回车）", too_long: "条码太长" };
  say("error", "red", words[reason]);
  ask("/pda/unread", { reason }).catch(() => {});
  return null;
}

/* ---- pairing and PIN ---- */

async function open() {
  try {
    settle(await ask("/pda/open", { page: line.page }));
  } catch (error) {
    if (error instanceof Refusal) return fail(error);
    line.lose();
    setTimeout(open, 1000);
  }
  return null;
}

function settle(told) {
  line.lost = false;
  page.stage = told.stage;
  page.said = told.said ?? "";
  page.typed = "";
  page.operator = "";
  if (told.stage !== "pair") page.station = told.station;
  if (told.stage === "work") begin(told);
  else line.stop();
  const code = new URLSearchParams(location.hash.slice(1)).get("pair");
  if (code) {
    history.replaceState(null, "", location.pathname);
    if (told.stage === "pair") return pair(code);
  }
  draw();
  for (const held of page.held.splice(0)) scanned(held);
  return null;
}

/* Scans that somebody else left unconfirmed are not this operator's. */
function begin(told) {
  const before = sessionStorage.getItem("by");
  const dropped = before && before !== told.operator ? line.kept.length : 0;
  if (dropped) line.forget();
  sessionStorage.setItem("by", told.operator);
  take(told.view);
  page.answer = dropped ? { tone: "error", light: "red", code: "dropped", text_zh: `前一位有 ${dropped} 条扫码未确认，已丢弃：请核对` } : null;
  line.begin(told.seq);
}

function fail(error) {
  page.said = error instanceof Refusal ? error.zh : "连不上代理，请看 Wi-Fi";
  page.typed = "";
  if (error.code === "not_paired") page.stage = "pair";
  play(error instanceof Refusal ? "error" : "pending");
  draw();
}

async function pair(text) {
  const code = text.includes("#pair=") ? text.split("#pair=")[1] : text;
  try {
    await ask("/pda/pair", { code: code.slice(0, 40) });
    await open();
  } catch (error) {
    fail(error);
  }
}

function signedOut() {
  line.stop();
  page.stage = "open";
  page.sheet = null;
  page.view = null;
  page.operator = "";
  page.typed = "";
  draw();
}

function typedPin(text) {
  page.typed = text.replace(/^OPR-/, "");
  nextField();
}

function nextField() {
  if (!page.typed) return;
  if (!page.operator) {
    page.operator = page.typed;
    page.typed = "";
    page.said = "";
    draw();
    return;
  }
  signIn();
}

async function signIn() {
  try {
    settle(await ask("/pda/sign-in", { page: line.page, operator: page.operator, pin: page.typed }));
  } catch (error) {
    fail(error);
  }
}

/* ---- what is seen ---- */

function draw() {
  const stages = { open: opening, pair: pairing, pin: pinPad, work };
  const shown = stages[page.stage]();
  const tab = page.stage === "work" ? tabOf(page.view) : "";
  document.body.className = `${page.stage} ${tab}${line.lost ? " lost" : ""}`;
  main.replaceChildren(...shown.filter(Boolean));
}

function opening() {
  return [el("p", { class: "hint" }, line.lost ? "连不上代理，正在重试…" : "正在连接…")];
}

function pairing() {
  return [
    el("h1", {}, "配对这台 PDA"),
    el("p", { class: "hint" }, "在代理的状态页按“配对 PDA”，用扫描头扫屏幕上的二维码；没有二维扫描头就输入八位码。"),
    page.said ? el("p", { class: "said", role: "alert" }, page.said) : null,
    button("手输配对码", "wide", () => openSheet(typed("配对码", pair, closeSheet))),
    page.sheet?.box,
  ];
}

function pinPad() {
  const asked = page.operator ? "PIN" : "工号";
  const shown = page.operator ? "●".repeat(page.typed.length) : page.typed;
  const keys = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "退", "0", "确定"];
  const press = (key) => () => {
    wake();
    if (key === "确定") return nextField();
    if (key === "退" && !page.typed) page.operator = "";
    page.typed = key === "退" ? page.typed.slice(0, -1) : (page.typed + key).slice(0, 8);
    return draw();
  };
  return [
    el("h1", {}, `${page.station} · 请输入${asked}`),
    page.operator ? el("p", { class: "hint" }, `工号 ${page.operator}`) : null,
    el("p", { class: "typed" }, shown || " "),
    page.said ? el("p", { class: "said", role: "alert" }, page.said) : null,
    el("div", { class: "pad" }, ...keys.map((key) => button(key, key === "确定" ? "go" : "", press(key)))),
  ];
}

function work() {
  const view = page.view;
  const stops = view.stops.map((stop) => stopNotice(stop, () => put({ act: { act: "confirm_stop", shipment: stop.shipment } })));
  const red = redNotice(view, () => put({ code: "$$OK" }));
  if (red && !stops.length) stops.push(red);
  return [
    top(view),
    lostBar(),
    stops.length ? null : answer(),
    ...stops,
    stops.length ? null : notice(view),
    stops.length ? null : body(view),
    page.sheet?.box,
    page.sheet || stops.length ? null : tabs(),
  ];
}

function top(view) {
  const printer = view.printer && view.printer.level !== "ok" ? ` · ${view.printer.reason_zh || "打印机状态未知"}` : "";
  const cloud = view.online ? "" : " · 云端断网，照常作业";
  return el(
    "header",
    {},
    el("b", {}, view.id),
    el("span", {}, `工号 ${view.operator}${view.full ? " · 存储已满" : ""}${printer}${cloud}`),
    silent() ? button("开声音", "small", () => (wake(), setTimeout(draw, 150))) : null,
    button("退出", "small", leave),
  );
}

function lostBar() {
  if (!line.lost) return null;
  const kept = line.kept.length ? `，${line.kept.length} 条扫码未确认` : "";
  return el("p", { class: "lostbar", role: "alert" }, `与代理断开${kept}`);
}

function answer() {
  const idle = { returns: "请扫退货工单", count: "请扫商品" }[tabOf(page.view)] ?? (atWork(page.view) ? "请扫码" : "请扫面单、任务码或装车码");
  const box = answerBox(page.answer, idle);
  if (page.answer?.tone === "error") {
    box.addEventListener("click", () => {
      page.answer = null;
      draw();
    });
  }
  return box;
}

function notice(view) {
  if (!atWork(view) || !view.task.notice) return null;
  return el("section", { class: "notice" }, el("p", {}, view.task.notice), button("知道了，确认", "wide", () => put({ code: "$$OK" })));
}

function body(view) {
  const tab = tabOf(view);
  if (tab === "returns") return returns(view, put, { sheet: openSheet, close: closeSheet, typed: typeIn });
  if (tab === "count") return counting(view, put);
  return atWork(view) ? task(view) : waiting(view);
}

function task(view) {
  const open = view.task;
  const doubtful = ["unknown", "sent"].includes(view.label);
  const ready = open.state === "picking" && view.mode !== "pack" && !open.red && missing({ ...view, mode: "pick" }) === 0;
  return el(
    "section",
    { class: "task" },
    el("p", { class: "head" }, el("b", {}, step(view)), el("span", { class: "code" }, open.waybill || open.shipment), clockLine(open.ship_by_ms, nowMs())),
    view.do === "serial" || view.do === "gift" ? el("p", { class: "wants" }, view.want_zh) : null,
    lines(view),
    ready ? button("开始复核", "go wide", () => put({ code: `TASK-${open.shipment}` })) : null,
    el(
      "div",
      { class: "acts" },
      doubtful ? button("面单出来了", "go", () => put({ code: "$$OUT" })) : null,
      doubtful ? button("面单没出来", "", () => put({ code: "$$NOTOUT" })) : null,
      ["held", "failed", "queued"].includes(view.label) ? button("打印面单", "go", () => put({ code: "$$PRINT" })) : null,
      open.state === "packed" && view.label === "confirmed" ? button("补打", "", () => put({ code: "$$REPRINT" })) : null,
      view.mode === "pick" && missing(view) ? button("缺货", "warn", () => openSheet(shortPick(open, put, closeSheet))) : null,
      button("放下", "", () => put({ code: "$$CANCEL" })),
      button("手输", "", typeIn),
    ),
  );
}

function waiting(view) {
  const rows = view.waiting.map((one) => {
    const row = button("", "waiting", () => put({ code: `TASK-${one.shipment}` }));
    row.append(el("b", { class: "shelf" }, one.first || "无库位"), el("span", {}, `${one.units} 件`), clockLine(one.ship_by_ms, nowMs()), el("span", { class: "code" }, one.waybill || one.shipment));
    return row;
  });
  const head = view.mode === "load" ? `装车 ${view.dock}：逐个扫面单` : `待拣 ${rows.length}${rows.length === 12 ? "+" : ""} 单`;
  return el("section", { class: "queue" }, el("h2", {}, head), ...rows, button("手输条码", "wide", typeIn));
}

/* What the station is at decides; a person's choice only between two pieces of work. */
function tabOf(view) {
  return { return: "returns", count: "count" }[view.mode] ?? (atWork(view) ? "work" : page.tab);
}

function typeIn() {
  openSheet(typed("条码", (code) => put({ code }), closeSheet));
}

function tabs() {
  const names = { work: "作业", returns: "退货", count: "盘点" };
  const now = tabOf(page.view);
  const pick = (tab) => () => {
    if (tab === now) return;
    if (tab === "count") put({ code: "$$COUNT" });
    else if (page.view.task || page.view.mode) put({ code: "$$CANCEL" });
    page.tab = tab;
    draw();
  };
  return el("nav", {}, ...Object.entries(names).map(([tab, text]) => button(text, now === tab ? "on" : "", pick(tab))));
}

function openSheet(sheet) {
  page.sheet = sheet;
  draw();
  sheet.box.querySelector("input")?.focus();
}

function closeSheet() {
  page.sheet = null;
  draw();
  field.focus({ preventScroll: true });
}

async function leave() {
  if (line.kept.length) return say("error", "red", "还有扫码未确认，请等代理恢复再退出");
  try {
    await ask("/pda/sign-out", {});
    signedOut();
    await open();
  } catch (error) {
    fail(error);
  }
  return null;
}

new Wedge(field, scanned, broken);
addEventListener("pointerdown", wake);
addEventListener("pointerup", (event) => event.target instanceof HTMLInputElement || field.focus({ preventScroll: true }));
setInterval(() => page.view && tick(nowMs()), 5000);
addEventListener("hashchange", () => page.stage === "pair" && open());
open();
