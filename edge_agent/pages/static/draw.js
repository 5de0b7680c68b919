/* Builds what is seen from the agent's state; the same pieces for handheld and bench screen. */

export function el(tag, values, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(values ?? {})) {
    if (name === "press") onPress(made, value);
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/* A press that does not take the focus away from the scan field. */
function onPress(made, act) {
  made.addEventListener("mousedown", (event) => event.preventDefault());
  made.addEventListener("click", act);
}

export function button(text, kind, act) {
  return el("button", { type: "button", class: kind, tabindex: "-1", press: act }, text);
}

/* Minutes to a moment, in words; `now_ms` is the agent's clock, not this device's. */
export function left(ship_by_ms, now_ms) {
  const minutes = Math.floor((ship_by_ms - now_ms) / 60000);
  const size = Math.abs(minutes);
  const words = size < 120 ? `${size} 分` : `${Math.floor(size / 60)} 小时 ${size % 60} 分`;
  return minutes < 0 ? `已超 ${words}` : `剩 ${words}`;
}

/* The age of a moment decides its colour: late, soon (an hour), calm. */
export function urgency(ship_by_ms, now_ms) {
  const minutes = (ship_by_ms - now_ms) / 60000;
  return minutes < 0 ? "late" : minutes < 60 ? "soon" : "calm";
}

export function clockLine(ship_by_ms, now_ms) {
  return el("span", { class: `left ${urgency(ship_by_ms, now_ms)}`, "data-ship-by": ship_by_ms }, left(ship_by_ms, now_ms));
}

/* Refresh every shown number of minutes. */
export function tick(now_ms) {
  for (const one of document.querySelectorAll("[data-ship-by]")) {
    const due = Number(one.dataset.shipBy);
    one.className = `left ${urgency(due, now_ms)}`;
    one.textContent = left(due, now_ms);
  }
}

/* Whether the station has a parcel in hand that somebody still works on. */
export function atWork(view) {
  return view.task && !["handed_over", "stopped", "rejected"].includes(view.task.state);
}

/* Which counter the step at hand fills. */
export function counterOf(view) {
  return view.mode === "pack" ? "verified" : "picked";
}

export function missing(view) {
  const counter = counterOf(view);
  return (view.task?.lines ?? []).reduce((sum, line) => sum + line.quantity - line[counter], 0);
}

/* The lines by shelf: what is still to do first, large; what is done below. */
export function lines(view) {
  const counter = counterOf(view);
  const open = view.task.lines.filter((line) => line[counter] < line.quantity);
  const done = view.task.lines.filter((line) => line[counter] >= line.quantity);
  const rows = open.map((line, index) => row(line, counter, index === 0 ? "now" : "next"));
  return el("ol", { class: "lines" }, ...rows, ...done.map((line) => row(line, counter, "done")));
}

function row(line, counter, kind) {
  return el(
    "li",
    { class: `line ${kind}`, "data-sku": line.sku },
    el("b", { class: "shelf" }, line.location || "无库位"),
    el("span", { class: "amount" }, `${line[counter]}/${line.quantity}`),
    el("span", { class: "goods" }, line.name || line.sku, line.gift ? el("i", { class: "tag" }, "赠品") : null, line.serial ? el("i", { class: "tag" }, "扫序列号") : null),
  );
}

/* A shipment whose goods go back: nothing else may be seen until it is confirmed. */
export function stopNotice(stop, confirm) {
  const goods = stop.lines.filter((line) => line.picked).map((line) => el("li", {}, el("b", {}, line.name || line.sku), ` ×${line.picked} → ${line.location || "无库位"}`));
  return el(
    "section",
    { class: "stop", role: "alert" },
    el("h2", {}, stop.red_zh),
    el("p", { class: "code" }, stop.shipment),
    stop.pull_label ? el("p", {}, "撕下并销毁面单 ", el("b", { class: "code" }, stop.waybill)) : null,
    goods.length ? el("ul", {}, ...goods) : el("p", {}, "没有要放回的商品"),
    button("已放回，确认停止", "danger wide", confirm),
  );
}

/* How many things stand in red. */
export function alarms(view) {
  return view.stops.length + (redNotice(view, () => {}) ? 1 : 0);
}

/* A notice that stops the parcel in hand until somebody has read it; null when there is none. */
export function redNotice(view, confirm) {
  if (!atWork(view) || !view.task.red || !view.task.notice) return null;
  return el(
    "section",
    { class: "stop", role: "alert" },
    el("h2", {}, `停！${view.task.notice}`),
    el("p", { class: "code" }, view.task.waybill || view.task.shipment),
    button("知道了，确认", "danger wide", confirm),
  );
}

const LONG = 18;

export function answerBox(answer, idle) {
  if (!answer) return el("section", { class: "answer idle", role: "status" }, el("p", {}, idle));
  const long = answer.text_zh.length > LONG ? " long" : "";
  return el("section", { class: `answer ${answer.light || answer.tone}${long}`, role: answer.tone === "error" ? "alert" : "status" }, el("p", {}, answer.text_zh));
}

const STEP_ZH = { pick: "拣货", pack: "复核" };

/* What is done with the parcel in hand. */
export function step(view) {
  return (view.task.state === "picking" && STEP_ZH[view.mode]) || view.task.state_zh;
}
