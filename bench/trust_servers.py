"""The tables of the trust benchmark on edge servers: those that judge or vote falsely, at four and at ten of them,
and those that tamper with local blocks."""

from collections.abc import Sequence
from typing import Any

from bench.rows import number, with_spread
from platoon.scenario import Scenario

TEN, BLOCKS = "trust_servers_ten", "trust_blocks"
OWN_TABLES = (TEN, BLOCKS)
"""Grids whose rows stand in no other table."""
COUNTS = ("tampered", "committee", "contract", "audit", "unnoticed", "lost", "unsealed")
"""Local blocks that were tampered with, by whom they were refused, those that nobody noticed; updates lost by it;
and blocks that were anchored without a committee's seals."""


def name_faults(scenario: Scenario) -> str:
    """What malfunctions in a scenario, in words; empty where nothing does."""
    faults = scenario.faults
    servers = [f"{faults.edge_servers} {faults.behaviour}"] if faults.edge_servers else []
    members = [f"{faults.members:.0%} of vehicles {faults.member_behaviour}"] if faults.members else []
    return " and ".join(servers + members)


def write_server_tables(rows: Sequence[dict[str, Any]]) -> list[str]:
    """In Markdown: rows of the table of four edge servers, then the whole tables of the other two grids."""
    four = [
        f"| one edge server, {row['faulty_edge_servers'].split()[1]}{', former' * row['former']} | "
        f"{with_spread(row, 'accuracy')} | "
        f"{number(row['auc'])} | {number(row['poisoned_weight_second_half'])} | {row['named_edge_servers']} |"
        for row in rows
        if row["faulty_edge_servers"] and row["grid"] not in OWN_TABLES
    ]
    parts = list(four)
    for grid, write in ((TEN, _write_ten), (BLOCKS, _write_blocks)):
        if own := [row for row in rows if row["grid"] == grid]:
            parts.append(f"{grid}\n\n{write(own)}")
    return parts


def _write_ten(rows: Sequence[dict[str, Any]]) -> str:
    head = "| of ten | accuracy | AUC | false weight | honest below | named |"
    return "\n".join([head, f"|{'---|' * 6}", *(_ten_line(row) for row in rows)])


def _ten_line(row: dict[str, Any]) -> str:
    cells = [
        row["faulty_edge_servers"] or "nobody",
        with_spread(row, "accuracy"),
        number(row["auc"]),
        with_spread(row, "poisoned_weight_second_half"),
        with_spread(row, "honest_below_threshold"),
        str(row["named_edge_servers"]),
    ]
    return f"| {' | '.join(cells)} |"


def _write_blocks(rows: Sequence[dict[str, Any]]) -> str:
    columns = ("malfunction", "attack", "accuracy", "AUC", "false weight", *COUNTS, "named")
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}", *(_block_line(row) for row in rows)]
    return "\n".join(lines)


def _block_line(row: dict[str, Any]) -> str:
    cells = [
        row["faulty_edge_servers"] or "nobody",
        row["attack"],
        with_spread(row, "accuracy"),
        number(row["auc"]),
        with_spread(row, "poisoned_weight_second_half"),
        *(_count(row) if row["faulty_edge_servers"] else ["-"] * (len(COUNTS) + 1)),
    ]
    return f"| {' | '.join(cells)} |"


def _count(row: dict[str, Any]) -> list[str]:
    """``COUNTS``, those of all seeds together, and by seed who is named."""
    found = row["tampering"]
    counts = [
        sum(each["blocks"] for each in found),
        *(sum(each["refused_by"][who] for each in found) for who in ("committee", "contract", "audit")),
        sum(each["unnoticed"] for each in found),
        sum(each["updates_lost"] for each in found),
        sum(row["unsealed_blocks"]),
    ]
    return [*map(str, counts), str([each["named"] for each in found])]
