"""What the core decided during the shift, in the words it keeps: claims, breakers, reasons.

Reads the core's trail beside the running core, and reasons through the door that staff use. Changes
nothing and knows nothing of how a warehouse is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from virtual_warehouse.demo.audit import CoreBooks

SENTENCES_SHOWN = 8
_SINCE = (
    "SELECT id, subject, change, actor, detail FROM trail WHERE id > ? AND "
    "(change LIKE 'breaker:%' OR change IN ('routed>claim', 'claimed')) ORDER BY id LIMIT 500"
)


@dataclass(slots=True)
class Decided:
    """Counts of what was decided, and shipments that show it ("" while there is none).

    `asked`: shipments that several warehouses were asked for; `claims`: those one of them won.
    """

    asked: int = 0
    claims: int = 0
    breaker_opened: int = 0
    breaker_recovered: int = 0
    claimed: str = ""
    seen: int = 0


def look(books: CoreBooks, so_far: Decided) -> list[str]:
    """Count what is new in the trail; the sentences worth a remark, oldest first.

    Of the claims only the first is told, of breakers every change.
    """
    said: list[str] = []
    for row in books.rows(_SINCE, (so_far.seen,)):
        so_far.seen = row["id"]
        change = row["change"]
        if change == "routed>claim":
            so_far.asked += 1
        elif change == "claimed":
            so_far.claims += 1
            if not so_far.claimed:
                so_far.claimed = row["subject"]
                winner = row["actor"].removeprefix("agent:")
                said.append(f"抢单：{row['subject']} 同时询问两个仓，{winner} 先应答，归它发货")
        else:
            so_far.breaker_opened += change == "breaker:opened"
            so_far.breaker_recovered += change == "breaker:closed"
            said.append(f"熔断 {row['subject']}：{row['detail']}")
    return said


async def reasons(core_url: str, api_key: str, order_id: str) -> list[str]:
    """Why an order went where it went, as staff read it, without the carriers that were weighed;
    [] when the core does not answer."""
    async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
        answer = await client.get(
            f"{core_url}/v1/orders/{order_id}", headers={"authorization": f"Bearer {api_key}"}
        )
    if answer.status_code != 200:
        return []
    said = [sentence for part in answer.json()["shipments"] for sentence in part["reasons"]]
    return [sentence for sentence in said if not sentence.startswith("承运商")][:SENTENCES_SHOWN]
