"""What drivers do with private keys, alike for every carrier: sign, seal, open, change pseudonyms.

In a simulation one process holds everybody's keys. A new pseudonym is derived from the seed and the round in which
it was made, so that a resumed run finds the keys again that its ledger names.
"""

from collections.abc import Sequence

from platoon.ledger.task_chain import Receipt, TaskChain
from platoon.nouns import VehicleId
from platoon.protocol.effects import ChangePseudonym, Seal, SignAgreement, SignBlock, SignUpdate, Unseal
from platoon.protocol.messages import Peer, vehicle_peer
from platoon.records.agreements import sign_agreement
from platoon.records.identity import sign_rotation
from platoon.records.sealed import seal, unseal
from platoon.records.signing import Account, sign_update, simulated_account


def use_key(  # noqa: PLR0911 (one line a kind)
    seed: int,
    accounts: dict[Peer, Account],
    chain: TaskChain,
    actor: Peer,
    effect: SignUpdate | SignBlock | SignAgreement | Seal | Unseal | ChangePseudonym,
) -> object:
    """Carry out an effect that needs the actor's private key; what the answer is, the effect's docstring says."""
    mine = accounts[actor]
    match effect:
        case SignUpdate(round=number, digest=digest, samples=samples):
            return sign_update(mine, chain.task, round=number, digest=digest, samples=samples)
        case SignBlock(block=block):
            return mine.sign(block.digest)
        case SignAgreement(agreement=agreement):
            return sign_agreement(mine, chain.registry, agreement)
        case Seal(task=task, round=number, receivers=receivers, contents=contents):
            return tuple(
                seal(mine, accounts[receiver].public_key, task=task, round=number, content=content)
                for receiver, content in zip(receivers, contents, strict=True)
            )
        case Unseal(task=task, round=number, packet=packet, sender=sender):
            try:
                return unseal(mine, packet, task=task, round=number, sender=sender)
            except ValueError as refused:
                return str(refused)
        case ChangePseudonym(round=number):
            renewed = pseudonym(seed, VehicleId(actor.number), number)
            return sign_rotation(chain.registry, retired=mine, renewed=renewed)


def pseudonym(seed: int, vehicle: VehicleId, round_number: int) -> Account:
    """The account that a simulated vehicle makes in a round."""
    return simulated_account(seed, f"vehicle since round {round_number}", vehicle)


def follow_pseudonyms(
    seed: int, accounts: dict[Peer, Account], chain: TaskChain, receipts: Sequence[Receipt] | None = None
) -> None:
    """Put the keys of the accounts that the ledger names in ``accounts``; given receipts, if these changed any.

    Raises:
        ValueError: an account that no round up to now made.
    """
    if receipts is not None and not any(e.name == "Rotated" for each in receipts for e in each.events):
        return
    for i, address in enumerate(chain.vehicles):
        peer = vehicle_peer(VehicleId(i))
        if accounts[peer].address == address:
            continue
        made = (pseudonym(seed, VehicleId(i), number) for number in range(chain.round, 0, -1))
        found = next((account for account in made if account.address == address), None)
        if found is None:
            raise ValueError(f"vehicle {i}: nobody here holds the key of 0x{address.hex()}")
        accounts[peer] = found
