"""The tables of the trust benchmark on edge servers: those that judge or vote falsely, at four and at ten of them,
and those that tamper with local blocks."""

from collections.abc import Sequence
from typing import Any

from bench.rows import number, table, with_spread
from platoon.scenario import Scenario

FOUR, TEN, BLOCKS = "trust_servers", "trust_servers_ten", "trust_blocks"
OWN_TABLES = (FOUR, TEN, BLOCKS)
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


def make_server_tables(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """In Markdown, by name: four edge servers of which one malfunctions, ten, and those that tamper with blocks."""
    judging = ("accuracy", "AUC", "false weight", "honest below", "named")
    tampering = ("malfunction", "attack", "accuracy", "AUC", "false weight", *COUNTS, "named")
    kinds = {
        FOUR: (("of four", *judging), _judging_line),
        TEN: (("of ten", *judging), _judging_line),
        BLOCKS: (tampering, _tampering_line),
    }
    return {
        grid: table(head, [write(row) for row in own])
        for grid, (head, write) in kinds.items()
        if (own := [row for row in rows if row["grid"] == grid])
    }


def _judging_line(row: dict[str, Any]) -> list[str]:
    return [
        row["faulty_edge_servers"] or "nobody",
        with_spread(row, "accuracy"),
        number(row["auc"]),
        with_spread(row, "poisoned_weight_second_half"),
        with_spread(row, "honest_below_threshold"),
        str(row["named_edge_servers"]),
    ]


def _tampering_line(row: dict[str, Any]) -> list[str]:
    return [
        row["faulty_edge_servers"] or "nobody",
        row["attack"],
        with_spread(row, "accuracy"),
        number(row["auc"]),
        with_spread(row, "poisoned_weight_second_half"),
        *(_count(row) if row["faulty_edge_servers"] else ["-"] * (len(COUNTS) + 1)),
    ]


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
