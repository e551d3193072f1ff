"""A scenario: everything that determines a run, as one frozen value parsed from TOML.

Every key has a unit and a source in its description; ``scenarios/*.toml`` show them with comments. An error
names the key, the value and what is allowed. "DTB-FL" is Li, Zheng, Chen 2025 (Future Internet 17(11):505),
whose experiment is section 6.1; equation numbers are that paper's.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from platoon.errors import UserError
from platoon.scenario.agreed import Committee, Ledger, Plausibility, Reward, Stake
from platoon.scenario.fleet import Attack, Faults, Fleet, malicious_count, refuse_attacks
from platoon.scenario.learning import Aggregation, Partition, Round, Task, Trust
from platoon.scenario.section import Section
from platoon.scenario.surroundings import Compute, Radio, Roads, Sidelink, Twin
from platoon.scenario.text import assign, copy_table, did_you_mean, explain, write_section

__all__ = [
    "Aggregation",
    "Attack",
    "Committee",
    "Compute",
    "Faults",
    "Fleet",
    "Ledger",
    "Partition",
    "Plausibility",
    "Radio",
    "Reward",
    "Roads",
    "Round",
    "Scenario",
    "Section",
    "Sidelink",
    "Stake",
    "Task",
    "Trust",
    "Twin",
    "did_you_mean",
    "malicious_count",
]

MOST_UPDATES = 128
"""Updates that the contract takes in one round."""


class Scenario(Section):
    """A whole scenario. ``Scenario.load`` reads it from TOML.

    >>> Scenario().fleet.vehicles
    60
    """

    name: str = Field("scenario", pattern=r"^[A-Za-z0-9_.-]+$", description="name in tables and reports")
    seed: int = Field(1, ge=0, lt=2**63, description="the one seed")
    method: str = Field("dtb-fl", description="composition of selector, score, reputation and weights")
    compare: tuple[str, ...] = Field(("dtb-fl", "fedavg"), description="methods of `platoon compare`")
    workers: int = Field(2, ge=1, le=256, description="training processes; the result does not depend on it")
    task: Task = Task()
    fleet: Fleet = Fleet()
    faults: Faults = Faults()
    partition: Partition = Partition()
    roads: Roads = Roads()
    radio: Radio = Radio()
    sidelink: Sidelink = Sidelink()
    compute: Compute = Compute()
    round: Round = Round()
    twin: Twin = Twin()
    trust: Trust = Trust()
    aggregation: Aggregation = Aggregation()
    reward: Reward = Reward()
    committee: Committee = Committee()
    stake: Stake = Stake()
    plausibility: Plausibility = Plausibility()
    ledger: Ledger = Ledger()

    @model_validator(mode="after")
    def _consistent(self) -> "Scenario":
        if self.round.participants > self.fleet.vehicles:
            raise ValueError(
                f"round.participants = {self.round.participants}: larger than the fleet; "
                f"allowed: 1 to fleet.vehicles = {self.fleet.vehicles}"
            )
        if self.round.participants + self.trust.probation_slots > MOST_UPDATES:
            raise ValueError(
                f"round.participants = {self.round.participants} with trust.probation_slots = "
                f"{self.trust.probation_slots}: allowed: together at most {MOST_UPDATES}, what a contract takes"
            )
        if self.faults.edge_servers > self.radio.rsus:
            raise ValueError(
                f"faults.edge_servers = {self.faults.edge_servers}: more than there are; "
                f"allowed: 0 to radio.rsus = {self.radio.rsus}"
            )
        if (reason := refuse_attacks(self.fleet)) is not None:
            raise ValueError(reason)
        if malicious_count(self.fleet) >= self.fleet.vehicles:
            raise ValueError(
                f"fleet.malicious_share = {self.fleet.malicious_share}: every vehicle is malicious; "
                "allowed: a share that leaves at least one honest vehicle"
            )
        if self.fleet.platoon > self.fleet.vehicles - malicious_count(self.fleet):
            raise ValueError(
                f"fleet.platoon = {self.fleet.platoon}: more than the honest vehicles; "
                f"allowed: 0 to {self.fleet.vehicles - malicious_count(self.fleet)}"
            )
        return self

    @classmethod
    def load(cls, path: str | Path, overrides: Mapping[str, Any] | None = None) -> "Scenario":
        """Read a scenario from a TOML file; ``overrides`` maps dotted keys to values (``--set``).

        Raises:
            UserError: no such file, no TOML, an unknown key, or a value out of range; the message says which.
        """
        try:
            table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path}: no such scenario file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read as a scenario ({error})") from None
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{path}: not valid TOML ({error})") from None
        return cls.from_table(table, overrides, source=str(path))

    @classmethod
    def from_table(
        cls, table: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, source: str = "scenario"
    ) -> "Scenario":
        """Build a scenario from nested mappings, applying dotted overrides; raises ``UserError``."""
        merged = copy_table(table)
        for key, value in (overrides or {}).items():
            assign(merged, key, value)
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            raise UserError(f"{source}: {explain(error, cls)}") from None

    def to_toml(self) -> str:
        """The scenario as TOML, every key written out beside what it means. Reading it gives an equal one."""
        return write_section(self)
