"""CPU milliseconds of what identity costs: task packets, changes of pseudonym, certificates, answers to a request.

    python -m bench.identity

prints a table. Signing, sealing and opening are measured apart, since each side of a message pays its own.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from platoon.ledger.contracts import ContractSet
from platoon.ledger.evm import Machine
from platoon.ledger.membership import Membership
from platoon.ledger.task_chain import Participants, TaskChain
from platoon.nouns import Digest, Instant
from platoon.records.agreements import (
    Opinion,
    Signed,
    TaskRequest,
    TaskResponse,
    check_response,
    compute_agreement_digest,
    sign_agreement,
)
from platoon.records.certificates import check_certificate, issue_certificate
from platoon.records.identity import check_rotation, sign_rotation
from platoon.records.rules import Rules
from platoon.records.sealed import TaskOrder, seal, unseal
from platoon.records.signing import simulated_account
from platoon.records.typed_data import Domain

REPETITIONS, TIMES = 7, 200
TASK = Digest(b"\x01" * 32)


def main() -> None:
    operator, vehicle, renewed = (simulated_account(1, "party", i) for i in range(3))
    order = TaskOrder(model=TASK, deadline=Instant(10**6)).encode()
    packet = seal(operator, vehicle.public_key, task=TASK, round=1, content=order)
    rotation = sign_rotation(TASK, retired=vehicle, renewed=renewed)

    def issue() -> object:
        return issue_certificate(
            operator, TASK, vehicle=vehicle.address, reputation=1, round=1, expiry=Instant(9), serial=1
        )

    certificate = issue_certificate(
        operator, TASK, vehicle=vehicle.address, reputation=1, round=1, expiry=Instant(9), serial=1
    )
    sides: dict[str, Callable[[], object]] = {
        "packet_seal": lambda: seal(operator, vehicle.public_key, task=TASK, round=1, content=order),
        "packet_open": lambda: unseal(vehicle, packet, task=TASK, round=1, sender=operator.address),
        "rotation_sign": lambda: sign_rotation(TASK, retired=vehicle, renewed=renewed),
        "rotation_check": lambda: check_rotation(TASK, rotation),
        "certificate_issue": issue,
        "certificate_check": lambda: check_certificate(certificate, {operator.address: TASK}, Instant(0)),
    }
    for name, work in sides.items():
        show(name, [measure(work) for _ in range(REPETITIONS)], "ms")
    show("rotation_on_chain", [rotate_all(128) for _ in range(REPETITIONS)], "ms")
    for name, values in zip(
        ("responses_200_sign", "responses_200_check", "responses_200_chain"),
        zip(*(answer_all(200) for _ in range(REPETITIONS)), strict=True),
        strict=True,
    ):
        show(name, list(values), "ms")
    print(f"{'packet_bytes':24} {len(packet):8} bytes")


def measure(work: Callable[[], object]) -> float:
    """CPU milliseconds of one."""
    start = time.process_time()
    for _ in range(TIMES):
        work()
    return (time.process_time() - start) / TIMES * 1e3


def rotate_all(count: int) -> float:
    """CPU milliseconds of one change of pseudonym in the EVM, of ``count`` in a transaction."""
    operator, server = simulated_account(1, "operator", 0), simulated_account(1, "edge server", 0)
    contracts, machine = ContractSet(operator.address), Machine(7400)
    registry = contracts.addresses["Registry"]
    call = contracts.deployment(0)
    assert machine.execute(operator.address, None, call.data, call.gas).ok
    old = [simulated_account(1, "old", i) for i in range(count)]
    for role, accounts in ((1, [server.address]), (2, [account.address for account in old])):
        call = contracts.call("Registry", "register", role, accounts)
        assert machine.execute(operator.address, registry, call.data, call.gas).ok
    separator = Domain(chain_id=7400, contract=registry).separator
    call = Membership(contracts=contracts).rotate(
        [
            sign_rotation(separator, retired=each, renewed=simulated_account(1, "new", i))
            for i, each in enumerate(old)
        ]
    )
    start = time.process_time()
    assert machine.execute(server.address, registry, call.data, call.gas).ok
    return (time.process_time() - start) / count * 1e3


def answer_all(count: int) -> tuple[float, float, float]:
    """CPU milliseconds of ``count`` answers to a request: their vehicles', their coordinator's, their ledger's."""
    servers = tuple(simulated_account(1, "edge server", i) for i in range(10))
    vehicles = [simulated_account(1, "vehicle", i) for i in range(count)]
    everybody = Participants(
        operator=simulated_account(1, "operator", 0),
        publisher=simulated_account(1, "publisher", 0),
        edge_servers=servers,
        vehicles=tuple(vehicle.address for vehicle in vehicles),
    )
    opinions = tuple(
        Opinion(subject=subject, reputation=500_000)
        for subject in sorted(server.address for server in servers[:2])
    )
    with tempfile.TemporaryDirectory(prefix="platoon-bench-") as folder:
        path = Path(folder) / "ledger.sqlite"
        chain = TaskChain.create(
            path, chain_id=7400, participants=everybody, rules=Rules(), model=TASK, probes=()
        )
        request = TaskRequest(
            publisher=everybody.publisher.address,
            content=TASK,
            vehicles=10,
            samples=300,
            cycles=10**6,
            deadline=Instant(10**6),
            budget=0,
            serial=1,
        )
        name = compute_agreement_digest(chain.registry, request)
        signature = sign_agreement(everybody.publisher, chain.registry, request)
        call = chain.agreements.publish(Instant(1), Signed(agreement=request, signature=signature))
        (published,) = chain.submit([chain.sign(servers[0], call)], round=0, at=Instant(1))
        assert published.ok
        start = time.process_time()
        signed = []
        for vehicle in vehicles:
            response = TaskResponse(
                request=name,
                vehicle=vehicle.address,
                clock=2 * 10**9,
                samples=300,
                rate=10**7,
                opinions=opinions,
            )
            signature = sign_agreement(vehicle, chain.registry, response)
            signed.append(Signed(agreement=response, signature=signature))
        told = time.process_time()
        for each in signed:
            assert check_response(chain.registry, each.agreement, each.signature, request) is None
        checked = time.process_time()
        calls = chain.agreements.respond(Instant(2), signed)
        raws = [chain.sign(servers[0], call, ahead=i) for i, call in enumerate(calls)]
        receipts = chain.submit(raws, round=0, at=Instant(2))
        chain.commit("answered")
        kept = time.process_time()
        assert all(receipt.ok for receipt in receipts)
        assert chain.answered().all()
        chain.close()
    return (told - start) * 1e3, (checked - told) * 1e3, (kept - checked) * 1e3


def show(name: str, values: list[float], unit: str) -> None:
    low, middle, high = statistics.quantiles(values, n=4)
    print(f"{name:24} {middle:8.3f} {unit} +- {(high - low) / 2:.3f}")


if __name__ == "__main__":
    main()
