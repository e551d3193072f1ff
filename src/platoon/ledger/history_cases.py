"""What a ledger's events say of plausibility cases, for people: who was flagged, on what measures, and what became
of it. Plain values for JSON."""

from collections.abc import Mapping
from typing import Any

from platoon.ledger.contracts import Event
from platoon.ledger.model_plausibility import Kind
from platoon.nouns import Address

Json = dict[str, Any]


class CaseBook:
    """A fold over the events of Plausibility."""

    def __init__(self) -> None:
        self._cases: dict[int, Json] = {}

    def describe(self) -> list[Json]:
        """Every case so far."""
        return list(self._cases.values())

    def take(
        self, event: Event, owners: Mapping[Address, int], seats: Mapping[Address, int]
    ) -> dict[int, int]:
        """One event more; the reputations that it set, ppm, by vehicle.

        ``owners``: the vehicle of every account; ``seats``: the number of every edge server.
        """
        values = event.values
        if event.name == "Reported":
            return {}
        if event.name == "Flagged":
            self._cases[values["number"]] = _open(values, owners)
        case = self._cases[values["number"]]
        if event.name == "Appealed":
            case |= {"appealed_by": owners[values["vehicle"]], "status": "under appeal"}
        elif event.name == "Reviewed":
            case["reviews"][str(seats[values["edge_server"]])] = values["upheld"]
        elif event.name == "Decided":
            case["status"] = "upheld" if values["upheld"] else "lifted"
        return dict(zip(case["members"], values.get("now", ()), strict=False))


def _open(values: Json, owners: Mapping[Address, int]) -> Json:
    return {
        "case": values["number"],
        "round": values["round"],
        "kind": Kind(values["kind"]).name.lower(),
        "members": [owners[member] for member in values["members"]],
        "apart_mm": values["apart"],
        "similarity": values["similarity"],
        "taken": [old - new for old, new in zip(values["before"], values["now"], strict=True)],
        "appealed_by": None,
        "reviews": {},
        "status": "flagged",
    }
