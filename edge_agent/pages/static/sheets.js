/* What opens over the work: a short pick with its reason, a count, typing by hand, a return. */

import { button, el } from "./draw.js";

const REASONS = { none: "架上没有", broken: "破损", lost: "找不到", wrong: "货不对" };

/* Type a code by hand: the only field with a keyboard. */
export function typed(what, done, close) {
  const input = el("input", { type: "text", autocomplete: "off", autocapitalize: "characters", enterkeyhint: "done", "aria-label": what });
  const finish = () => {
    const text = input.value.trim();
    close();
    if (text) done(text);
  };
  input.addEventListener("keydown", (event) => event.key === "Enter" && (event.preventDefault(), finish()));
  return sheet(`手输${what}`, input, row(button("取消", "", () => close()), button("确定", "go", finish)));
}

/* Fewer on the shelf than asked for: which line, why, and how many are there. */
export function shortPick(task, put, close) {
  const open = task.lines.filter((line) => line.picked < line.quantity);
  const chosen = { sku: open[0].sku, reason: "", found: 0 };
  const made = sheet("缺货");
  const send = () => {
    put({ act: { act: "short", ...chosen } });
    close();
  };
  const draw = () =>
    made.box.replaceChildren(
      el("h2", {}, "缺货：哪个商品？"),
      ...open.map((line) => button(`${line.location || "无库位"}  ${line.name || line.sku}`, line.sku === chosen.sku ? "on wide" : "wide", () => ((chosen.sku = line.sku), draw()))),
      el("h2", {}, "架上还有几件？"),
      stepper(chosen, "found", draw),
      el("h2", {}, "原因"),
      row(...Object.entries(REASONS).map(([code, text]) => button(text, code === chosen.reason ? "on" : "", () => ((chosen.reason = code), draw())))),
      row(button("取消", "", () => close()), chosen.reason ? button("报缺货", "danger", send) : null),
    );
  draw();
  return made;
}

/* What is counted at this station: scan the goods one by one, or type the number. */
export function counting(view, put) {
  if (view.mode !== "count") return el("p", { class: "hint" }, "正在切换到盘点…");
  if (!view.wants) return el("p", { class: "hint" }, "扫货架上的商品：逐件扫，或扫一次再输入数量");
  const units = Number(view.dock) || 0;
  const press = (digit) => () => put({ code: `$$N:${digit === "退" ? Math.floor(units / 10) : Math.min(Number(`${units}${digit}`), 999999)}` });
  const keys = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "退", "0"];
  return el(
    "section",
    { class: "task" },
    el("p", { class: "head" }, el("b", {}, "盘点"), el("span", { class: "code" }, view.wants)),
    el("p", { class: "typed" }, `${units} 件`),
    el("div", { class: "pad" }, ...keys.map((key) => button(key, "", press(key))), button("确认", "go", () => put({ code: "$$OK" }))),
  );
}

const FAILS = { BROKEN: "破损", USED: "已使用", DIRTY: "污渍", WRONG: "不是本商品", SERIAL: "序列号不符", MISSING: "缺件" };

/* The return in hand item by item; without one, those that are open. */
export function returns(view, put, open) {
  const held = view.return;
  if (!held) return el("section", { class: "queue" }, el("p", { class: "hint" }, "扫退货工单条码签收，或接着质检"), ...view.returns.map((one) => ticket(one, put)));
  const wanted = held.lines.find((line) => line.sku === view.wants);
  return el(
    "section",
    { class: "task" },
    el("p", { class: "head" }, el("b", {}, "质检"), el("span", { class: "code" }, held.ticket), countdown(held)),
    wanted ? verdict(wanted, put, open) : el("p", { class: "wants" }, `请扫退回的商品，还剩 ${held.left} 件`),
    el("ol", { class: "lines" }, ...held.lines.map(returned)),
    row(button("结束", "warn", () => open.sheet(ending(held, put, open.close))), button("放下", "", () => put({ code: "$$CANCEL" })), button("手输", "", open.typed)),
  );
}

function verdict(line, put, open) {
  const box = el("section", { class: "line now" }, el("span", { class: "goods" }, line.name || line.sku));
  const pair = row(button("合格", "pass", () => put({ code: "$$PASS" })), button("不合格", "danger", () => open.sheet(failed(put, open.close))));
  pair.className = "acts verdict";
  return el("div", {}, box, pair);
}

/* Ending early says that the rest did not come: that is asked once more. */
function ending(held, put, close) {
  const finish = () => {
    close();
    put({ code: "$$DONE" });
  };
  return sheet(`结束质检：其余 ${held.left} 件没有退回？`, row(button("取消", "", () => close()), button("没有退回，结束", "danger", finish)));
}

/* Why a unit fails. */
function failed(put, close) {
  const choose = (code) => () => {
    close();
    put({ code: `$$FAIL:${code}` });
  };
  return sheet("不合格原因", row(...Object.entries(FAILS).map(([code, text]) => button(text, "", choose(code)))), row(button("取消", "", () => close())));
}

function returned(line) {
  const bad = line.failed ? ` · 不合格 ${line.failed}` : "";
  return el("li", { class: `line ${line.left ? "next" : "done"}` }, el("span", { class: "goods" }, line.name || line.sku), el("span", {}, `合格 ${line.passed}${bad}`), el("b", { class: "amount" }, `剩 ${line.left}/${line.quantity}`));
}

function ticket(one, put) {
  const row = button("", "waiting", () => (one.state === "accepted" ? put({ code: one.ticket }) : null));
  row.append(el("b", {}, one.state_zh), el("span", {}, `${one.left} 件`), countdown(one), el("span", { class: "code" }, one.ticket));
  return row;
}

function countdown(one) {
  if (!one.due_ms) return "";
  return el("span", { class: `left ${one.overdue ? "late" : one.left_min < 60 ? "soon" : "calm"}` }, `${one.overdue ? "已超" : "剩"} ${Math.abs(one.left_min)} 分`);
}

function stepper(chosen, name, draw) {
  const step = (by) => () => {
    chosen[name] = Math.max(0, Math.min(chosen[name] + by, 1_000_000));
    draw();
  };
  return row(button("−", "", step(-1)), el("b", { class: "typed" }, String(chosen[name])), button("＋", "", step(1)));
}

function sheet(title, ...children) {
  return { box: el("section", { class: "sheet", role: "dialog", "aria-label": title }, el("h2", {}, title), ...children), scan: null };
}

function row(...children) {
  return el("div", { class: "acts" }, ...children);
}
