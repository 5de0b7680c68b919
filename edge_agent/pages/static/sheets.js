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

/* The return in hand, item by item. */
export function returns(view, put) {
  const open = view.returns;
  if (!open) return el("p", { class: "hint" }, "扫退货单条码，签收退货");
  return el("section", { class: "task" }, el("p", { class: "head" }, el("b", {}, open.state_zh), el("span", { class: "code" }, open.ticket)));
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
