"""The contracts once more, in plain Python integers: the reference that an auditor folds over a log.

``Model.apply`` takes a sender and a decoded call and gives what the contracts must have said: the same events, or
the same reason of rejection. It shares no code with the EVM and reads beside ``contracts/*.vy``; tests hold the two
equal over arbitrary calls.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from platoon.ledger.contracts import CONTRACTS, ContractSet, Event
from platoon.ledger.model_accounts import Escrow, Token
from platoon.ledger.model_admission import Admission
from platoon.ledger.model_agreements import Agreements
from platoon.ledger.model_checkpoint import Checkpoint, Sealing
from platoon.ledger.model_clocks import Clocks
from platoon.ledger.model_plausibility import Plausibility
from platoon.ledger.model_registry import Registry, Rejected
from platoon.ledger.model_stakes import Stakes
from platoon.ledger.model_training import SettledRound, Training
from platoon.nouns import Address, Digest
from platoon.records.committee import CommitteeRules
from platoon.records.rules import Payment, Rule, Rules, WeightRule
from platoon.records.typed_data import Domain

_REPUTATION = ("beta", "rho_min", "start", "threshold", "penalty", "severity", "memory", "prior")
_LATER = ("mean_tolerance", "single_tolerance", "most_samples", "description")


class Outcome(NamedTuple):
    """What a call does."""

    ok: bool
    error: str
    events: tuple[Event, ...]


def read_rules(parameters: Sequence[int]) -> Rules:
    """The rules in the contract's parameters; raises ``ValueError`` for values that it would not have taken."""
    rule, weights, payment, *numbers = parameters
    names = (*_REPUTATION, "pool", "base", "bonus")
    return Rules(
        rule=Rule(rule),
        weights=WeightRule(weights),
        payment=Payment(payment),
        **dict(zip((*names, *_LATER), numbers, strict=True)),
    )


def write_rules(rules: Rules) -> tuple[int, ...]:
    """The rules as the contract's constructor takes them."""
    names = ("rule", "weights", "payment", *_REPUTATION, "pool", "base", "bonus", *_LATER)
    return tuple(int(getattr(rules, name)) for name in names)


def read_committee(parameters: Sequence[int], reward: int) -> CommitteeRules:
    """The rules in the parameters of Checkpoint and the reward of Sealing; raises ``ValueError``."""
    names = ("size", "floor", "full_share", "unsealed_weight")
    return CommitteeRules(**dict(zip(names, parameters, strict=True)), reward=reward)


def write_committee(rules: CommitteeRules) -> tuple[int, ...]:
    """The rules as Checkpoint's constructor takes them."""
    return rules.size, rules.floor, rules.full_share, rules.unsealed_weight


class Model:
    """A task chain's state after its deployment."""

    def __init__(self, contracts: ContractSet, chain_id: int, constructors: Sequence[Sequence[Any]]) -> None:
        """``constructors``: the arguments of the deployments, in their order.

        Raises:
            ValueError: arguments that the contracts would not have taken.
        """
        operator, addresses = contracts.operator, contracts.addresses
        given = dict(zip(CONTRACTS, constructors, strict=True))
        publisher, initial, parameters = given["Training"][4:]
        registry = Domain(chain_id=chain_id, contract=addresses["Registry"])
        self.registry = Registry(operator=operator, separator=registry.separator)
        self.token = Token(operator=operator)
        self.escrow = Escrow(
            operator=operator,
            address=addresses["Escrow"],
            publisher=given["Escrow"][2],
            registry=self.registry,
            token=self.token,
        )
        self.stakes = Stakes(
            address=addresses["Stakes"],
            training=addresses["Training"],
            share=given["Stakes"][4],
            registry=self.registry,
            token=self.token,
            escrow=addresses["Escrow"],
        )
        self.training = Training(
            address=addresses["Training"],
            task=Domain(chain_id=chain_id, contract=addresses["Training"]).separator,
            publisher=publisher,
            registry=self.registry,
            escrow=self.escrow,
            stakes=self.stakes,
            plausibility=addresses["Plausibility"],
            rules=read_rules(parameters),
            model=Digest(initial),
        )
        sealer, reward = given["Sealing"][3:]
        self.checkpoint = Checkpoint(
            registry=self.registry,
            training=self.training,
            rules=read_committee(given["Checkpoint"][2], reward),
        )
        self.sealing = Sealing(
            address=addresses["Sealing"],
            publisher=sealer,
            registry=self.registry,
            token=self.token,
            checkpoint=self.checkpoint,
            reward=reward,
        )
        self.admission = Admission(
            operator=operator,
            address=addresses["Admission"],
            registry=self.registry,
            training=self.training,
            clocks=Clocks(registry=self.registry),
            attested=given["Admission"][2],
        )
        self.plausibility = Plausibility(
            address=addresses["Plausibility"],
            penalty=given["Plausibility"][2],
            registry=self.registry,
            training=self.training,
        )
        self.agreements = Agreements(
            address=addresses["Agreements"],
            publisher=given["Agreements"][4],
            purses=(addresses["Escrow"], addresses["Sealing"]),
            registry=self.registry,
            token=self.token,
            clocks=Clocks(registry=self.registry),
        )
        self._handlers = self._collect_handlers()

    def apply(self, sender: Address, contract: str, function: str, arguments: Sequence[Any]) -> Outcome:
        """Folds one call into the state; a rejected one leaves it untouched."""
        try:
            events = self._handlers[contract, function](sender, *arguments)
        except Rejected as rejected:
            return Outcome(False, str(rejected), ())
        return Outcome(True, "", tuple(events))

    def take_settled(self) -> list[SettledRound]:
        """The rounds settled since this was last asked."""
        settled, self.training.settled = self.training.settled, []
        return settled

    def _collect_handlers(self) -> dict[tuple[str, str], Callable[..., list[Event]]]:
        token, escrow, training = self.token, self.escrow, self.training
        checkpoint, sealing, admission = self.checkpoint, self.sealing, self.admission
        stakes, plausibility, agreements = self.stakes, self.plausibility, self.agreements

        def withdraw(sender: Address) -> list[Event]:
            return escrow.withdraw(sender, {training.address: training.closed})

        def withdraw_stake(sender: Address) -> list[Event]:
            return stakes.withdraw(sender, is_closed=training.closed)

        return {
            ("Registry", "register"): self.registry.register,
            ("Registry", "revoke"): self.registry.revoke,
            ("Registry", "rotate"): self.registry.rotate,
            ("Registry", "bind"): self.registry.bind,
            ("Registry", "begin"): self.registry.begin,
            ("Token", "mint"): token.mint,
            ("Token", "close_minting"): token.close_minting,
            ("Token", "transfer"): token.transfer,
            ("Token", "transfer_many"): token.transfer_many,
            ("Token", "approve"): token.approve,
            ("Token", "transferFrom"): token.transfer_from,
            ("Escrow", "bind"): escrow.bind,
            ("Escrow", "fund"): escrow.fund,
            ("Escrow", "pay"): escrow.pay,
            ("Escrow", "withdraw"): withdraw,
            ("Stakes", "deposit"): stakes.deposit,
            ("Stakes", "settle"): stakes.settle,
            ("Stakes", "withdraw"): withdraw_stake,
            ("Training", "record"): training.record,
            ("Training", "commit_probe"): training.commit_probe,
            ("Training", "score"): training.score,
            ("Training", "judge"): training.judge,
            ("Training", "vote"): training.vote,
            ("Training", "settle"): training.settle,
            ("Training", "correct"): training.refuse_correction,
            ("Training", "close"): training.close,
            ("Checkpoint", "anchor"): checkpoint.anchor,
            ("Checkpoint", "report_fork"): checkpoint.report_fork,
            ("Sealing", "fund"): sealing.fund,
            ("Sealing", "release"): sealing.release,
            ("Sealing", "withdraw"): sealing.withdraw,
            ("Admission", "trust_issuers"): admission.trust_issuers,
            ("Admission", "distrust"): admission.distrust,
            ("Admission", "admit_certified"): admission.admit_certified,
            ("Admission", "admit_attested"): admission.admit_attested,
            ("Plausibility", "report"): plausibility.report,
            ("Plausibility", "appeal"): plausibility.appeal,
            ("Plausibility", "review"): plausibility.review,
            ("Agreements", "publish"): agreements.publish,
            ("Agreements", "join"): agreements.join,
            ("Agreements", "respond"): agreements.respond,
            ("Agreements", "pay_order"): agreements.pay_order,
        }
