"""What was agreed on and vouched for, as a ledger's file says it: the task's request, who joined it, what vehicles
answered, what the publisher ordered, and the certificates by which newcomers were admitted or not."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from platoon.ledger.contracts import Event
from platoon.ledger.model_agreements import Decline
from platoon.nouns import Address

Json = dict[str, Any]
EVENTS = frozenset(
    {"Published", "Joined", "Responded", "Declined", "Paid", "Admitted", "Trusted", "Distrusted"}
)
"""What is told here, and so nowhere else."""
_REQUEST = ("publisher", "content", "vehicles", "samples", "cycles", "deadline_us", "budget", "serial")
_RESPONSE = ("request", "vehicle", "clock_hz", "samples", "rate_bit_s")
_PAYMENT = ("request", "payer", "receiver", "amount", "round", "serial")
_CERTIFICATE = ("task", "issuer", "vehicle", "reputation", "round", "expiry_us", "serial")


class Sent(NamedTuple):
    """A transaction and what became of it."""

    block: int
    sender: Address
    contract: str
    function: str
    arguments: Mapping[str, Any]
    error: str
    """Why it was refused; empty where it was not."""
    events: Sequence[Event]


@dataclass(kw_only=True)
class PaperBook:
    """A fold over transactions. Rows hold addresses as bytes; ``describe`` names them."""

    request: Json | None = None
    joined: list[Address] = field(default_factory=list)
    responses: dict[Address, Json] = field(default_factory=dict)
    """By the account that answered."""
    declined: list[Json] = field(default_factory=list)
    payments: list[Json] = field(default_factory=list)
    """Refused ones included."""
    certificates: list[Json] = field(default_factory=list)
    """And attestations; refused ones included."""
    refused: list[Json] = field(default_factory=list)
    """Requests, joinings and packs of responses that were refused as a whole."""
    issuers: dict[Address, Json] = field(default_factory=dict)

    def take(self, sent: Sent) -> None:
        """Fold one more transaction in."""
        if sent.contract not in ("Agreements", "Admission"):
            return
        brought = {"block": sent.block, "brought_by": sent.sender}
        if sent.function == "pay_order":
            order = _read(_PAYMENT, sent.arguments["order"])
            self.payments.append(brought | order | {"refused": sent.error or None})
        elif sent.function == "admit_certified":
            self._take_certificate(brought, sent)
        elif sent.function == "admit_attested":
            self._take_attestations(brought, sent)
        elif sent.error:
            self.refused.append(brought | {"what": sent.function, "refused": sent.error})
        for event in sent.events:
            self._take_event(event, sent)

    def _take_certificate(self, brought: Json, sent: Sent) -> None:
        certificate = _read(_CERTIFICATE, sent.arguments["certificate"])
        row = {"kind": "certificate", **certificate, "refused": sent.error or None}
        self.certificates.append(brought | row)

    def _take_attestations(self, brought: Json, sent: Sent) -> None:
        reputations = {
            e.values["vehicle"]: e.values["reputation"] for e in sent.events if e.name == "Admitted"
        }
        nobody = dict.fromkeys(("task", "issuer", "round", "expiry_us", "serial"))
        for vehicle in sent.arguments["vehicles"]:
            row = {
                "kind": "attestation",
                **nobody,
                "vehicle": vehicle,
                "reputation": reputations.get(vehicle),
            }
            self.certificates.append(brought | row | {"refused": sent.error or None})

    def _take_event(self, event: Event, sent: Sent) -> None:
        values = event.values
        if event.name == "Published":
            asked = _read(_REQUEST, sent.arguments["asked"])
            self.request = {
                "block": sent.block,
                "brought_by": sent.sender,
                "request": values["request"],
                **asked,
            }
        elif event.name == "Joined":
            self.joined.append(values["edge_server"])
        elif event.name == "Responded":
            self.responses[values["vehicle"]] = {
                "block": sent.block,
                "brought_by": sent.sender,
                "clock_hz": values["clock"],
                "samples": values["samples"],
                "rate_bit_s": values["rate"],
                "opinions": list(zip(values["subjects"], values["reputations"], strict=True)),
            }
        elif event.name == "Declined":
            reason = Decline(values["reason"]).name.lower().replace("_", " ")
            row = {"block": sent.block, "brought_by": sent.sender, "vehicle": values["vehicle"]}
            self.declined.append(row | {"reason": reason})
        elif event.name == "Trusted":
            self.issuers[values["issuer"]] = {
                "issuer": values["issuer"],
                "task": values["task"],
                "trusted": True,
            }
        elif event.name == "Distrusted":
            self.issuers[values["issuer"]]["trusted"] = False

    # ---- descriptions -------------------------------------------------------------------------------------------

    def describe(self, show: Callable[[Any], Any]) -> Json:
        """Everything; ``show`` makes JSON of a value, with names for accounts."""
        return {
            "request": None if self.request is None else show(self.request),
            "joined": [show(server) for server in self.joined],
            "responses": [self._describe_response(account, show) for account in self.responses],
            "declined": [show(row) for row in self.declined],
            "opinions": self._sum_opinions(show),
            "payments": [show(row) for row in self.payments],
            "certificates": [show(row) for row in self.certificates],
            "issuers": [show(row) for row in self.issuers.values()],
            "refused": [show(row) for row in self.refused],
        }

    def describe_vehicle(self, accounts: Sequence[Address], show: Callable[[Any], Any]) -> Json:
        """One vehicle's: its answer, orders in its favour, and what it was admitted by or not."""
        mine = [account for account in accounts if account in self.responses]
        return {
            "response": self._describe_response(mine[0], show) if mine else None,
            "declined": [show(row) for row in self.declined if row["vehicle"] in accounts],
            "certificates": [show(row) for row in self.certificates if row["vehicle"] in accounts],
            "payments": [show(row) for row in self.payments if row["receiver"] in accounts],
        }

    def _describe_response(self, account: Address, show: Callable[[Any], Any]) -> Json:
        row = dict(self.responses[account])
        opinions = {show(subject): reputation for subject, reputation in row.pop("opinions")}
        described: Json = show({"vehicle": account, **row})
        return described | {"opinions": opinions}

    def _sum_opinions(self, show: Callable[[Any], Any]) -> list[Json]:
        """What was said of each: by how many, and the mean, ppm rounded down."""
        said: dict[Address, list[int]] = {}
        for row in self.responses.values():
            for subject, reputation in row["opinions"]:
                said.setdefault(subject, []).append(reputation)
        return [
            {"subject": show(subject), "opinions": len(values), "mean": sum(values) // len(values)}
            for subject, values in sorted(said.items(), key=lambda item: str(show(item[0])))
        ]


def explain(contract: str, function: str, arguments: Json) -> Json:
    """The arguments of a call about papers, each number under its name; those of other calls as they are."""
    if contract == "Agreements" and function == "publish":
        return arguments | {"asked": _read_signed(_REQUEST, arguments["asked"])}
    if contract == "Agreements" and function == "pay_order":
        return arguments | {"order": _read_signed(_PAYMENT, arguments["order"])}
    if contract == "Agreements" and function == "respond":
        opinions = iter(arguments["opinions"])
        responses = [_read_response(response, opinions) for response in arguments["responses"]]
        left = [list(opinion) for opinion in opinions]  # of a call that was refused for it
        return {"at": arguments["at"], "responses": responses} | (
            {"opinions_left_over": left} if left else {}
        )
    if contract == "Admission" and function == "admit_certified":
        return arguments | {"certificate": _read_signed(_CERTIFICATE, arguments["certificate"])}
    return arguments


def _read(names: Sequence[str], values: Sequence[Any]) -> Json:
    return dict(zip(names, values[: len(names)], strict=True))


def _read_signed(names: Sequence[str], values: Sequence[Any]) -> Json:
    return _read(names, values) | {"signature": join_signature(*values[-3:])}


def _read_response(values: Sequence[Any], opinions: Iterator[Sequence[Any]]) -> Json:
    own = [list(opinion) for _, opinion in zip(range(min(values[5], 1024)), opinions, strict=False)]
    return _read(_RESPONSE, values) | {"opinions": own, "signature": join_signature(*values[-3:])}


def join_signature(v: int, r: int, s: int) -> bytes:
    """The 65 bytes (or more, where v is none) of a signature that a call carries in three numbers."""
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") + v.to_bytes(32, "big").lstrip(b"\0")
