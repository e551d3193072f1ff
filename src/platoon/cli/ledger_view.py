"""What ``platoon ledger show`` and ``platoon ledger reputation`` print: tables of what ``platoon.ledger.history``
and ``platoon.drivers.reputation`` found."""

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
    parts: list[RenderableType] = [_facts(facts), Text(), _view_request(task), Text(), servers]
    parts += [Text(), rounds]
    parts += _view_papers(task)
    if task["cases"]:
        parts += [Text(), _view_cases(task["cases"])]
    return Group(*parts)


def _view_request(task: Json) -> RenderableType:
    """How the task came about."""
    request = task["request"]
    if request is None:
        return Text("no request was published")
    declined = f", {len(task['declined'])} answers declined" if task["declined"] else ""
    attested = sum(_is_plain(row) for row in task["certificates"])
    facts = {
        "request": request["request"],
        "asks for": f"{request['vehicles']} vehicles a round with {request['samples']} samples, "
        f"{request['cycles']:,} cycles per sample; description {_short(request['content'])}",
        "answers until": f"{request['deadline_us'] / MILLION:.1f} s",
        "budget": f"{_tokens(request['budget'])} tokens",
        "joined by": ", ".join(task["joined"]) or "nobody",
        "answered by": f"{len(task['responses'])} vehicles{declined}",
    }
    if attested:
        facts["admitted"] = f"{attested} vehicles by attestation"
    return _facts(facts)


def _is_plain(row: Json) -> bool:
    """An attestation that went through: nothing that needs a row of its own beside others."""
    return bool(row["kind"] == "attestation" and row["refused"] is None)


def _view_papers(task: Json) -> list[RenderableType]:
    """Opinions, payments by order, who was admitted by a certificate or not, and what was refused."""
    certificates = [row for row in task["certificates"] if not _is_plain(row)]
    tables = (
        ("opinions", _OPINIONS, [_opinion_cells(row) for row in task["opinions"]]),
        ("payments by order", _PAYMENTS, [_payment_cells(row) for row in task["payments"]]),
        ("certificates", _CERTIFICATES, [_certificate_cells(row) for row in certificates]),
        ("refused", _REFUSED, [_refused_cells(row) for row in (*task["refused"], *task["declined"])]),
    )
    parts: list[RenderableType] = []
    for title, heading, rows in tables:
        if rows:
            parts += [Text(), _table(title, heading, rows)]
    return parts


_OPINIONS = ("of", "opinions", "mean")
_PAYMENTS = ("block", "from", "to", "amount", "round", "serial", "brought by", "verdict")
_CERTIFICATES = (
    *("block", "vehicle", "by", "issuer", "reputation", "its round", "expires", "serial", "brought by"),
    "verdict",
)
_REFUSED = ("block", "what", "brought by", "reason")


def _opinion_cells(row: Json) -> tuple[Any, ...]:
    return row["subject"], row["opinions"], _share(row["mean"])


def _payment_cells(row: Json) -> tuple[Any, ...]:
    verdict = "paid" if row["refused"] is None else f"refused: {row['refused']}"
    parties = (_short(row["payer"]), _short(row["receiver"]))
    return (
        *(row["block"], *parties, _tokens(row["amount"]), row["round"], row["serial"]),
        *(row["brought_by"], verdict),
    )


def _certificate_cells(row: Json) -> tuple[Any, ...]:
    verdict = "admitted" if row["refused"] is None else f"refused: {row['refused']}"
    expires = "" if row["expiry_us"] is None else f"{row['expiry_us'] / MILLION:.1f} s"
    return (
        *(
            row["block"],
            _short(row["vehicle"]),
            row["kind"],
            _short(row["issuer"] or ""),
            _share(row["reputation"]),
        ),
        *(row["round"], expires, row["serial"], row["brought_by"], verdict),
    )


def _refused_cells(row: Json) -> tuple[Any, ...]:
    what = row.get("what") or f"answer of {_short(row['vehicle'])}"
    return row["block"], what, row["brought_by"], row.get("refused") or row["reason"]


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


def view_reputations(found: Json) -> Group:
    """Shards, and a row per vehicle: what each shard says of it, on how much evidence, and what follows."""
    shards = _table(
        "task chains",
        ("shard", "run", "task", "rule", "settled rounds", "edge servers"),
        (
            (i, s["directory"], _short(s["task"]), s["rule"], s["round"], s["edge_servers"])
            for i, s in enumerate(found["shards"], 1)
        ),
    )
    vehicles = _table(
        "reputation (evidence, in full observations)",
        ("vehicle", "address", *(f"shard {i}" for i in range(1, len(found["shards"]) + 1)), "global"),
        (
            (
                *(row["vehicle"], _short(row["address"])),
                *("-" if said is None else _reputation(said) for said in row["shards"]),
                _reputation(row["global"]),
            )
            for row in found["vehicles"]
        ),
    )
    return Group(shards, Text(), vehicles)


def _reputation(said: Json) -> str:
    return f"{said['value'] / MILLION:.3f} ({said['evidence'] / MILLION:.2f})"


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
        parts += [Text(f"   {line}", style="dim") for line in _argument_lines(sent["arguments"])]
        for event in sent["events"]:
            values = {key: value for key, value in event.items() if key not in ("contract", "event")}
            parts.append(Text(f"   -> {event['event']}  {_line(values)}"))
    return Group(*parts)


def _argument_lines(arguments: Json) -> list[str]:
    """Plain arguments in one line, then a line for each row of those that are lists of rows."""
    rows = {name: value for name, value in arguments.items() if _is_rows(value)}
    lines = [_line({name: value for name, value in arguments.items() if name not in rows})]
    lines += [f"{name}  {_line(row)}" for name, values in rows.items() for row in values]
    return [line for line in lines if line]


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


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
    if (response := vehicle["response"]) is not None:
        facts["answered"] = (
            f"block {response['block']}, by {response['brought_by']}: {response['clock_hz'] / 1e9:.2f} GHz, "
            f"{response['samples']} samples, {response['rate_bit_s'] / 1e6:.1f} Mbit/s (claims)"
        )
        said = [f"{who} {_share(value)}" for who, value in response["opinions"].items()]
        facts["its opinions"] = ", ".join(said) or "none"
    servers = sorted({server for row in vehicle["rounds"] for server in row["scores"]}, key=int)
    heading = (
        *("round", "block", "recorded by", "digest", "samples"),
        *(f"score {server}" for server in servers),
        *("median", "verdict", "reputation", "reward"),
    )
    rows = _table("rounds", heading, (_update_cells(row, servers) for row in vehicle["rounds"]))
    parts: list[RenderableType] = [_facts(facts), Text(), rows]
    for title, heading, cells in (
        ("admission", _CERTIFICATES, [_certificate_cells(row) for row in vehicle["certificates"]]),
        ("payments by order", _PAYMENTS, [_payment_cells(row) for row in vehicle["payments"]]),
        ("declined", _REFUSED, [_refused_cells(row) for row in vehicle["declined"]]),
    ):
        if cells:
            parts += [Text(), _table(title, heading, cells)]
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
