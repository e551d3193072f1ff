"""What ``platoon ledger show`` prints: tables of what ``platoon.ledger.history`` found."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from platoon.nouns import MILLION

Json = dict[str, Any]
_DIGITS = 14
"""Of a digest or an address that is shown in a table; ``--json`` has all of them."""


def view_task(task: Json) -> Group:
    """The task, its edge servers, and a row per round."""
    facts = {
        "task": task["task"],
        "chain id": task["chain_id"],
        "operator": task["operator"],
        "publisher": task["publisher"],
        "vehicles": task["vehicles"],
        "blocks": f"{task['blocks']} with {task['transactions']} transactions",
        "head": task["head"],
        "rules": ", ".join(f"{name} {value}" for name, value in task["rules"].items()),
    } | {f"contract {name}": address for name, address in task["contracts"].items()}
    servers = _table(
        "edge servers",
        ("edge server", "address", "stake", ""),
        (
            (s["edge_server"], s["address"], _tokens(s["stake"]), "revoked" if s["revoked"] else "")
            for s in task["edge_servers"]
        ),
    )
    rounds = _table(
        "rounds",
        (
            "round",
            "blocks",
            "updates",
            "valid",
            "merged",
            "evidence",
            "sealed",
            "model",
            "votes",
            "paid",
            "named",
            "absent",
        ),
        (_round_cells(row) for row in task["rounds"]),
    )
    parts: list[RenderableType] = [_facts(facts), Text(), servers, Text(), rounds]
    if task["cases"]:
        parts += [Text(), _view_cases(task["cases"])]
    return Group(*parts)


def _view_cases(cases: Sequence[Json]) -> Table:
    """What was flagged as collusion or as one device behind several accounts, and what became of it."""
    heading = (
        "case",
        "round",
        "kind",
        "vehicles",
        "apart (m)",
        "similarity",
        "taken",
        "appealed by",
        "status",
    )
    return _table(
        "plausibility",
        (*heading, "upheld by", "lifted by"),
        (
            (
                *(case["case"], case["round"], case["kind"], ", ".join(map(str, case["members"]))),
                f"{case['apart_mm'] / 1000:.1f}",
                *(_share(case["similarity"]), _share(max(case["taken"], default=0))),
                *(case["appealed_by"], case["status"]),
                *(
                    ", ".join(s for s, vote in case["reviews"].items() if vote is way)
                    for way in (True, False)
                ),
            )
            for case in cases
        ),
    )


def view_block(block: Json) -> Group:
    """A block: who sealed it, and each transaction with what it did."""
    facts = {name.replace("_", " "): block[name] for name in ("block", "hash", "parent", "round")}
    facts["at"] = f"{block['at_us'] / MILLION:.6f} s"
    facts["sealed by"] = ", ".join(block["sealed_by"])
    parts: list[RenderableType] = [_facts(facts)]
    for position, sent in enumerate(block["transactions"]):
        result = "" if sent["ok"] else f"  refused: {sent['error']}"
        title = f"{position}  {sent['sender']}: {sent['contract']}.{sent['function']}{result}"
        parts += [Text(), Text(title, style="bold" if sent["ok"] else "bold red")]
        parts.append(Text(f"   {_line(sent['arguments'])}", style="dim"))
        for event in sent["events"]:
            values = {key: value for key, value in event.items() if key not in ("contract", "event")}
            parts.append(Text(f"   -> {event['event']}  {_line(values)}"))
    return Group(*parts)


def view_vehicle(vehicle: Json) -> Group:
    """A vehicle: a row per round, a column per edge server that scored."""
    facts = {
        "vehicle": vehicle["vehicle"],
        "address": vehicle["address"],
        "reputation": _share(vehicle["reputation"]),
        "paid": _tokens(vehicle["paid"]),
    }
    if vehicle["revoked"]:
        facts["revoked"] = "yes"
    servers = sorted({server for row in vehicle["rounds"] for server in row["scores"]}, key=int)
    heading = (
        *("round", "block", "recorded by", "digest", "samples"),
        *(f"score {server}" for server in servers),
        *("median", "verdict", "reputation", "reward"),
    )
    rows = _table("rounds", heading, (_update_cells(row, servers) for row in vehicle["rounds"]))
    parts: list[RenderableType] = [_facts(facts), Text(), rows]
    for event in vehicle["other_events"]:
        values = {key: value for key, value in event.items() if key not in ("contract", "event", "block")}
        parts.append(Text(f"block {event['block']}: {event['contract']}.{event['event']}  {_line(values)}"))
    return Group(*parts)


def _round_cells(row: Json) -> tuple[Any, ...]:
    first, last = row["blocks"]
    votes = [f"{len(servers)} for {_short(digest)}" for digest, servers in row["votes"].items()]
    named = [f"{n['edge_server']} ({', '.join(n['reasons'])}, -{_tokens(n['taken'])})" for n in row["named"]]
    absent = [f"{a['edge_server']} ({', '.join(a['steps'])})" for a in row["absent"]]
    return (
        row["round"],
        f"{first}-{last}",
        *(row[name] for name in ("updates", "valid", "merged")),
        _share(row["evidence"]),
        f"{sum(block['sealed'] for block in row['local_blocks'].values())}/{len(row['local_blocks'])}",
        "open" if row["model"] is None else _short(row["model"]),
        "; ".join(votes),
        _tokens(row["paid"]),
        "; ".join(named),
        "; ".join(absent),
    )


def _update_cells(row: Json, servers: Sequence[str]) -> tuple[Any, ...]:
    verdict = row["refused"] or {None: "", True: "valid", False: "invalid"}[row["valid"]]
    if row["valid"] and not row["merged"]:
        verdict = "valid, not merged"
    moved = "" if row["reputation_after"] is None else f" -> {_share(row['reputation_after'])}"
    return (
        row["round"],
        row["block"],
        row["edge_server"],
        _short(row["digest"]),
        row["samples"],
        *(_share(row["scores"].get(server)) for server in servers),
        _share(row["median"]),
        verdict,
        _share(row["reputation_before"]) + moved,
        _tokens(row["reward"]),
    )


def _facts(values: Json) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(name, Text(str(value)))
    return table


def _table(title: str, heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in heading:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    return table


def _line(values: Json) -> str:
    return "  ".join(f"{name} {_cell(value)}" for name, value in values.items())


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} {_cell(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_cell(inner) for inner in value) + "]"
    return _short(str(value))


def _short(text: str) -> str:
    return text[:_DIGITS] + "..." if text.startswith("0x") and len(text) > _DIGITS + 3 else text


def _share(ppm: int | None) -> str:
    return "" if ppm is None else f"{ppm / MILLION:.3f}"


def _tokens(amount: int | None) -> str:
    return "" if amount is None else f"{amount / MILLION:.2f}"
