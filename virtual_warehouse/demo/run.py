"""The demo from the first process to the last line: set up, play, audit, show, tear down."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from protocols.errors import Unavailable
from virtual_warehouse.demo import pictures
from virtual_warehouse.demo.audit import Bench, Findings, audit, personal_leaks
from virtual_warehouse.demo.board import Board, table
from virtual_warehouse.demo.decisions import reasons
from virtual_warehouse.demo.shops import Basket, Shops, fill_basket
from virtual_warehouse.demo.stage import Stage
from virtual_warehouse.demo.story import Acts, Story, track_address
from virtual_warehouse.people import at_work

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130
CALM_SHIFT_S = 25.0
SCANS_PER_ORDER = 8
ANSWER_S = 0.06


@dataclass(frozen=True, slots=True)
class Options:
    """`pictures`: a folder for pictures of label and pages; `leave` ends the demo by itself."""

    orders: int
    folder: Path
    leave: bool
    seed: int = 1
    pictures: Path | None = None


async def run(options: Options, board: Board) -> int:
    """The whole demo; its exit status. Raises `PacklineError` when it cannot be played."""
    loop, me = asyncio.get_running_loop(), asyncio.current_task()
    assert me is not None
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, me.cancel)
    with _alone_in(options.folder):
        if options.pictures is not None:
            options.pictures.mkdir(parents=True, exist_ok=True)
        stage = Stage(options.folder, board.say)
        try:
            return await _play(options, board, stage)
        except asyncio.CancelledError:
            board.end()
            board.say("收到停止信号，正在收尾")
            return stage.outcome if stage.outcome is not None else INTERRUPTED
        finally:
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)
            await stage.tear_down()
            board.end()


async def _play(options: Options, board: Board, stage: Stage) -> int:
    await stage.build(_basket(options).units(), options.orders)
    basket = _basket(options)  # the same orders, paid only now
    shops = Shops(stage.core_url, basket, stage.secrets, stage.api_key, options.seed)
    story = Story(stage, shops, board, options.orders, options.pictures)
    crews = [one.crew for one in stage.warehouses]
    people = [person for one in stage.warehouses for person in one.people]
    for crew in crews:
        crew.think_s = calm(options.orders, len(people))
    board.say(f"开工：{options.orders} 单，{len(people)} 个人")
    try:
        async with at_work(crews, people):
            await story.play()
    finally:
        await shops.close()
    seconds = board.seconds
    found = await asyncio.to_thread(_audit, stage, basket, story.acts)
    result = _result(found, story, shops, seconds)
    await _tell_why(stage, story)
    print(table(_rows(found, story, shops, stage, seconds), "Packline 演示结果"))
    await _show(options, stage, basket)
    stage.outcome = 1 if found.broken else 0
    if not options.leave:
        print("按 Ctrl-C 结束", flush=True)
        await asyncio.Event().wait()
    print(json.dumps(result, ensure_ascii=False), flush=True)
    return stage.outcome


def _basket(options: Options) -> Basket:
    return fill_basket(options.orders, options.seed, time.time_ns() // 1_000_000)


def calm(orders: int, people: int) -> float:
    """Seconds a person thinks before a scan, so that a small shift still has time for a story."""
    return max(0.0, CALM_SHIFT_S * people / (orders * SCANS_PER_ORDER) - ANSWER_S)


def _audit(stage: Stage, basket: Basket, acts: Acts) -> Findings:
    assert stage.shop is not None
    benches = [
        Bench(
            one.place.agent, one.place.warehouse, one.journals, one.crew.record,
            one.printer.printed,
        )
        for one in stage.warehouses
    ]  # fmt: skip
    found = audit(
        stage.books, benches, stage.opening,
        confirmed=[str(told.body["native_id"]) for told in stage.shop.told],
        wanted=[order["native_id"] for order in basket.everything],
        overheld=acts.overheld,
    )  # fmt: skip
    folders = [one.folder for one in stage.warehouses] + [stage.logs, stage.broker_folder]
    leaks = personal_leaks(folders, basket.personal_texts())
    found.personal_leaks = len(leaks)
    if leaks:
        found.broken.append(f"个人信息出现在 {'、'.join(leaks[:3])}")
    if stage.shop.badly_signed:
        found.broken.append(f"{stage.shop.badly_signed} 次发货回传签名不对")
    found.broken += acts.missing(rush=bool(basket.rush))
    return found


def _result(found: Findings, story: Story, shops: Shops, seconds: float) -> dict[str, object]:
    """The last line of standard output."""
    acts, tally = story.acts, shops.tally
    values: dict[str, object] = asdict(found)
    values.update(
        backlog_after_heal=acts.backlog_after_heal,
        backlog_at_heal=acts.backlog_at_heal,
        line_cut_s=round(acts.cut_s, 1),
        drained_s=round(acts.drained_s, 1),
        agent_back_s=round(acts.back_s, 1),
        claims=acts.decided.claims,
        breaker_opened=acts.decided.breaker_opened,
        breaker_recovered=acts.decided.breaker_recovered,
        repeated_deliveries=tally.repeats,
        in_file_and_webhook=tally.in_both,
        forged_turned_away=tally.turned_away,
        faulty_lines_refused=tally.refused_lines,
        seconds=round(seconds, 1),
    )
    return values


def _rows(
    found: Findings, story: Story, shops: Shops, stage: Stage, seconds: float
) -> list[tuple[str, str]]:
    assert stage.shop is not None
    acts, tally, decided = story.acts, shops.tally, story.acts.decided
    late = f"，{story.late.found.rested_s:.1f} 秒后恢复接单" if decided.breaker_recovered else ""
    houses = "，".join(f"{one.place.name} {len(one.crew.record.gone)}" for one in stage.warehouses)
    scans = sum(one.crew.record.scans for one in stage.warehouses)
    return [
        ("订单（未取消）", f"{found.orders}"),
        ("发货", f"{found.shipped}（{houses}）"),
        ("取消 / 退款", f"{found.cancelled}（打包中退款 {acts.refunded_packing or '无'}）"),
        ("打印面单", f"{found.labels} 个运单号，{found.papers} 张纸"),
        ("扫码 / 事件", f"{scans} / {found.events}"),
        ("表格与推送重复的订单", f"{tally.in_both}（各只算一单）"),
        ("重复推送", f"{tally.repeats} 次，无第二次效果"),
        ("伪造推送 / 错误数据", f"拒绝 {tally.turned_away} / {tally.refused_lines}"),
        ("抢单", f"{decided.asked} 单同时询问多仓，{decided.claims} 单由先应答的仓得到"),
        ("熔断", f"{decided.breaker_opened} 次{late}" if shops.basket.rush else "订单少，不演示"),
        ("断线", f"{acts.cut_s:.1f} 秒，积压 {acts.backlog_at_heal}，{acts.drained_s:.1f} 秒补完"),
        ("kill -9 后恢复", f"{acts.back_s:.1f} 秒"),
        ("发货回传店铺", f"{found.confirmed}（验签通过，重复 {stage.shop.repeats}）"),
        ("丢失事件", f"{found.lost_events}"),
        ("重复面单", f"{found.double_labels}"),
        ("超卖", f"{found.oversold}"),
        ("库存与实物不符", f"{found.stock_wrong}"),
        ("结束时积压", f"{acts.backlog_after_heal}"),
        ("个人信息外泄", f"{found.personal_leaks}"),
        ("用时", f"{seconds:.1f} 秒"),
        ("承诺", "全部守住" if not found.broken else "；".join(found.broken)),
    ]


async def _tell_why(stage: Stage, story: Story) -> None:
    """Some decision records, as staff read them: why this warehouse and not another."""
    late = story.late.found
    wanted = {
        "普通订单": await asyncio.to_thread(stage.a_plainly_routed_order),
        "抢单": await asyncio.to_thread(stage.order_of, story.acts.decided.claimed),
        "熔断期间": late.moved,
        "熔断后试单": late.trial,
    }
    print("选仓理由（节选，每单都有）")
    for what, order_id in wanted.items():
        said = await reasons(stage.core_url, stage.api_key, order_id) if order_id else []
        for place, sentence in enumerate(said):
            print(f"  {sentence}" if place else f"· {what} {order_id}\n  {sentence}")
    print(flush=True)


async def _show(options: Options, stage: Stage, basket: Basket) -> None:
    """Addresses for people while they answer, and pictures if they were asked for."""
    shipped = await asyncio.to_thread(stage.a_shipped_order)
    track = await track_address(stage.core_url, stage.api_key, shipped) if shipped else ""
    if not options.leave:
        print(f"接口文档    {stage.core_url}/openapi.json")
        print(f"控制台      {stage.core_url}/console  密钥 {stage.api_key}")
        print(f"物流查询页  {track}")
        for one in stage.warehouses:
            print(f"{one.place.name}状态页  {one.page}/")
    print(f"面单图片    {stage.labels}", flush=True)
    if options.pictures is None:
        return
    house = stage.warehouses[0]
    label = next(p for p in house.printer.printed if p.waybill in house.crew.record.gone)
    shutil.copyfile(label.path, options.pictures / "label.png")
    taken = await pictures.take(track, options.pictures / "tracking.png", pictures.PHONE)
    print(f"文档图片    {options.pictures}" + ("" if taken else "（没有浏览器，只有面单）"))


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """An empty demo folder that no other demo uses. Only what a demo made is ever removed."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / ".packline-demo"
    if not mark.exists() and any(folder.iterdir()):
        raise Unavailable(
            "folder_in_use",
            f"{folder} 不是空文件夹，也不是演示留下的",
            f"{folder} is neither empty nor left by a demo",
        )
    with mark.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Unavailable(
                "demo_running", f"另一个演示正在使用 {folder}", f"another demo uses {folder}"
            ) from error
        for found in folder.iterdir():
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found)
            elif found != mark:
                found.unlink()
        yield
