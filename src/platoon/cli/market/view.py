"""Tables of ``platoon market``: rows as JSON has them, and how people see them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from platoon.cli import options
from platoon.nouns import MILLION

if TYPE_CHECKING:
    from platoon.drivers.market.desk import Desk
    from platoon.drivers.market.judging import Verdict
    from platoon.market.search import Found

Row = dict[str, Any]


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        is_text = column in ("seller", "buyer", "task", "licence", "state", "event", "caution", "trader")
        table.add_column(column, justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
    return table


def _add(table: Table, *cells: str) -> None:
    """A row of plain text: what sellers write is nobody's markup."""
    table.add_row(*map(Text, cells))


def _cell(value: Any, digits: int = 3) -> str:
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


# ---- search -----------------------------------------------------------------------------------------------------


def found_rows(desk: "Desk", found: "Sequence[Found]") -> list[Row]:
    """One row a listing."""
    return [
        {
            "listing": item.number,
            "seller": desk.name_of(desk.find_listing(item.number).seller),
            "task": item.listing.description.task,
            "labels": list(item.listing.description.labels),
            "architecture": item.listing.description.architecture,
            "claimed_accuracy": item.listing.description.accuracy / MILLION,
            "bytes": item.listing.size,
            "price": item.listing.price / MILLION,
            "licence": "exclusive" if item.listing.exclusive else "any number",
            "threshold": item.listing.threshold / MILLION,
            "reputation": item.reputation / MILLION,
            "metres": item.metres,
            "domain_distance": item.domain_distance,
            "usage": item.listing.description.usage,
            "requirement": item.listing.description.requirement,
            "model": item.listing.model.hex(),
        }
        for item in found
    ]


def print_found(rows: Sequence[Row]) -> None:
    """For people."""
    if not rows:
        options.stdout.print("Nothing that is for sale fits.")
        return
    told = [name for name in ("metres", "domain_distance") if any(row[name] is not None for row in rows)]
    extra = {"metres": ("metres", 0), "domain_distance": ("apart", 3)}
    table = _table("no.", "seller", "task", "claims", "kB", "price", "licence", "rep.")
    for name in told:
        table.add_column(extra[name][0], justify="right")
    for row in rows:
        _add(
            table,
            str(row["listing"]),
            row["seller"],
            row["task"],
            _cell(row["claimed_accuracy"]),
            f"{row['bytes'] / 1000:.1f}",
            f"{row['price']:g}",
            row["licence"],
            _cell(row["reputation"]),
            *(_cell(row[name], extra[name][1]) for name in told),
        )
    options.stdout.print(table)


# ---- judge ------------------------------------------------------------------------------------------------------


def verdict_rows(verdict: "Verdict") -> Row:
    """What judging has found; numbers as they are."""
    groups = {
        "same_labels": verdict.ranking.same_labels,
        "other_labels": verdict.ranking.other_labels,
        "unranked": verdict.ranking.unranked,
    }
    told: Row = {
        group: [
            {
                "listing": int(judgement.name),
                "samples": judgement.samples,
                "accuracy": judgement.accuracy,
                "interval": judgement.interval,
                "nce": judgement.negative_conditional_entropy,
                "leep": judgement.leep,
                "logme": judgement.log_me,
                "h_score": judgement.h_score,
                "shrunk_h_score": judgement.shrunk_h_score,
                "leave_one_out": judgement.leave_one_out_accuracy,
                "shapley": verdict.values.get(int(judgement.name)),
                "cautions": list(judgement.cautions),
            }
            for judgement in judgements
        ]
        for group, judgements in groups.items()
    }
    told["cautions"] = list(verdict.ranking.cautions)
    told["refused"] = {str(number): reason for number, reason in verdict.refused.items()}
    return told


_GROUPS = {
    "same_labels": "Your labels, best first",
    "other_labels": "Other labels, best first",
    "unranked": "Not to be ranked",
}


def print_verdict(verdict: "Verdict") -> None:
    """For people: tables, then what not to read out of them."""
    told = verdict_rows(verdict)
    for group, title in _GROUPS.items():
        if not told[group]:
            continue
        table = _table("no.", "accuracy", "95 %", "refit", "NCE", "LEEP", "LogME", "H", "Shapley")
        table.title, table.title_justify = f"{title} ({told[group][0]['samples']} samples)", "left"
        for row in told[group]:
            interval = row["interval"]
            _add(
                table,
                str(row["listing"]),
                _cell(row["accuracy"]),
                "-" if interval is None else f"{interval[0]:.2f}-{interval[1]:.2f}",
                *(
                    _cell(row[key], 2)
                    for key in ("leave_one_out", "nce", "leep", "logme", "shrunk_h_score", "shapley")
                ),
            )
        options.stdout.print(table)
    cautions = list(told["cautions"])
    for group in _GROUPS:
        cautions += [f"listing {row['listing']}: {said}" for row in told[group] for said in row["cautions"]]
    for said in cautions:
        options.stdout.print(f"Caution: {said}", markup=False, soft_wrap=True)
    for number, reason in told["refused"].items():
        options.stdout.print(f"Listing {number} is not judged: {reason}", markup=False, soft_wrap=True)


# ---- settlement and history -------------------------------------------------------------------------------------


def settlement_rows(desk: "Desk", number: int, trades: Sequence[int]) -> Row:
    """What an auction has led to."""
    auction = desk.find_auction(number)
    return {
        "auction": number,
        "awards": [
            {
                "buyer": desk.name_of(bid.buyer),
                "revealed": bid.amounts is not None,
                "listings": [
                    listing for j, listing in enumerate(auction.listings) if auction.bundles[i] >> j & 1
                ],
                "pays": auction.payments[i] / MILLION,
            }
            for i, bid in enumerate(auction.bids)
        ],
        "trades": list(trades),
        "revenue": sum(auction.payments) / MILLION,
    }


def print_settlement(told: Row) -> None:
    """For people."""
    table = _table("buyer", "listings", "pays", "state")
    for award in told["awards"]:
        state = "" if award["revealed"] else "not revealed; its deposit is back"
        _add(
            table, award["buyer"], ", ".join(map(str, award["listings"])) or "-", f"{award['pays']:g}", state
        )
    options.stdout.print(table)
    trades = ", ".join(map(str, told["trades"])) or "none"
    options.stdout.print(f"Trades: {trades}. Paid in all: {told['revenue']:g} tokens.", markup=False)


def history_rows(desk: "Desk") -> Row:
    """Traders, trades and events."""
    state, chain = desk.state, desk.chain
    handles = sorted(state.accounts.items(), key=lambda item: item[1])
    reputations = desk.reputations_of_all()
    traders = [
        {
            "trader": desk.name_of(handle),
            "handle": handle,
            "tokens": chain.read_balance(account) / MILLION,
            "reputation": reputations[handle] / MILLION,
            "sold": sum(state.listings[t.listing].seller == handle for t in state.trades.values()),
            "bought": sum(t.buyer == handle for t in state.trades.values()),
        }
        for account, handle in handles
    ]
    trades = [
        {
            "trade": trade.number,
            "listing": trade.listing,
            "seller": desk.name_of(state.listings[trade.listing].seller),
            "buyer": desk.name_of(trade.buyer),
            "price": trade.price / MILLION,
            "state": trade.state.name.lower().replace("_", " "),
            "accuracy": None if trade.accuracy is None else trade.accuracy / MILLION,
            "positive": trade.positive,
        }
        for trade in state.trades.values()
    ]
    return {
        "now": state.now / MILLION,
        "blocks": chain.ledger.height,
        "head": chain.ledger.head.hex(),
        "traders": traders,
        "trades": trades,
        "events": [
            {"second": block.header.at / MILLION, "event": f"{event.contract}.{event.name}"}
            | {key: _plain(value) for key, value in event.values.items() if key != "document"}
            for block, event in chain.events()
        ],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def print_history(told: Row) -> None:
    """For people: what happened, line by line, then how everybody stands."""
    for event in told["events"]:
        if event["event"] in ("Catalogue.Ticked", "Catalogue.Bound", "Opinions.Bound", "Trades.Bound"):
            continue
        rest = ", ".join(
            f"{key} {_short(value)}" for key, value in event.items() if key not in ("second", "event")
        )
        options.stdout.print(
            f"{event['second']:12.3f}  {event['event']}: {rest}", markup=False, soft_wrap=True
        )
    trades = _table("trade", "listing", "seller", "buyer", "price", "state", "accuracy", "event")
    for row in told["trades"]:
        event = {None: "-", True: "positive", False: "negative"}[row["positive"]]
        cells = [str(row["trade"]), str(row["listing"]), row["seller"], row["buyer"], f"{row['price']:g}"]
        _add(trades, *cells, row["state"], _cell(row["accuracy"]), event)
    traders = _table("trader", "tokens", "reputation", "sold", "bought")
    for row in told["traders"]:
        cells = [f"{row['tokens']:g}", _cell(row["reputation"]), str(row["sold"]), str(row["bought"])]
        _add(traders, row["trader"], *cells)
    options.stdout.print(trades)
    options.stdout.print(traders)
    options.stdout.print(f"{told['blocks']} blocks, head {told['head'][:16]}", markup=False)


def _short(value: Any) -> str:
    if isinstance(value, list):
        shown = [_short(item) for item in value[:8]]
        return f"[{', '.join(shown)}{', ...' if len(value) > 8 else ''}]"
    return value[:10] if isinstance(value, str) else str(value)
