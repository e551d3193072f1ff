"""Sections on what is learned: the task, how the data lie, a round, trust and aggregation."""

from typing import Literal

from pydantic import Field

from platoon.scenario.section import Count, Positive, Section, Share, Tokens


class Task(Section):
    """What is learned, and when the run stops."""

    data: Literal["mnist", "cifar10", "gtsrb"] = Field("mnist", description="data set (DTB-FL: cifar10)")
    model: Literal["cnn", "small_cnn", "mlp"] = Field(
        "small_cnn", description="network; cnn is DTB-FL's of about 1.2 MB on CIFAR-10"
    )
    rounds: Count = Field(25, description="rounds at most (DTB-FL: 100)")
    target_accuracy: Share | None = Field(None, description="stop at this test accuracy (DTB-FL: 0.85)")
    deadline_s: Positive | None = Field(None, description="stop after this many simulated seconds")
    answer_s: Positive = Field(
        600.0, description="vehicles may answer the publisher's request for so long, simulated seconds"
    )
    escrow_tokens: Tokens = Field(1000.0, description="tokens that the publisher puts in escrow")
    test_samples: Count = Field(10_000, description="test images used after every round")


class Partition(Section):
    """How the data lie in the vehicles."""

    kind: Literal["classes", "iid", "dirichlet"] = Field("classes", description="partitioner")
    classes: Count = Field(2, description="classes per vehicle, for kind = classes (DTB-FL: 2)")
    alpha: Positive = Field(0.5, description="concentration, for kind = dirichlet")
    samples: Count = Field(300, description="samples per vehicle (DTB-FL: about 300)")


class Round(Section):
    """One training round."""

    participants: Count = Field(10, description="K, chosen in the whole fleet (DTB-FL: 10)")
    epochs: Count = Field(3, description="local epochs (DTB-FL: 3)")
    batch: Count = Field(32, description="batch size (DTB-FL: 32)")
    learning_rate: float = Field(0.02, gt=0, le=10, description="local SGD step size (not given by DTB-FL)")
    momentum: float = Field(0.9, ge=0, lt=1, description="local SGD momentum (not given by DTB-FL)")
    proximal: float = Field(
        0.0,
        ge=0,
        le=100,
        description="mu of FedProx: pull of local training back to the model sent out; 0: none, as in DTB-FL",
    )
    local_loss: Literal["full", "own_classes"] = Field(
        "full", description="cross entropy over all classes, or over the vehicle's own (docs/decisions/0006)"
    )
    policy: Literal["drop", "void", "wait"] = Field(
        "drop",
        description="when a chosen vehicle is late: go on without it, discard the round, or wait for it",
    )
    deadline_s: Positive = Field(20.0, description="wait at most this long for updates, seconds")
    selector: str | None = Field(None, description="selector instead of the method's own, by name")
    rest_rounds: int = Field(
        0, ge=0, description="rounds that a chosen vehicle is passed over; 0 is Algorithm 1 as written"
    )
    candidate_pool: int = Field(
        60,
        ge=0,
        description="candidates among which coverage and position choose (DTB-FL: 50 to 100); 0: all",
    )
    coverage_weight: float = Field(
        0.0,
        ge=0,
        le=100,
        description="balanced labels beside merit, estimated from past updates; 0: as written; not in a baseline "
        "method's own selector (docs/selectors.md)",
    )
    position_weight: float = Field(
        0.0,
        ge=0,
        le=10,
        description="lower merit before intersections (DTB-FL 3.3.3), as a power; 0: as written",
    )
    distribution_s: float = Field(1.0, ge=0, description="edge server to vehicles (DTB-FL 6.1.2: 1.0)")
    chain_s: float = Field(1.5, ge=0, description="evaluation and contracts on chain (DTB-FL 6.1.2: 1.5)")
    aggregation_s: float = Field(0.6, ge=0, description="aggregation (DTB-FL 6.1.2: 0.6)")


class Trust(Section):
    """Scores, reputation and weights."""

    score: str = Field(
        "forensic", description="rule that judges an update (docs/scores.md); 'cosine' is eq. 11 of DTB-FL"
    )
    threshold: float | None = Field(
        None, ge=-1, le=1, description="Q_min; None takes the score's own (cosine: 0.3, DTB-FL)"
    )
    probes_per_class: Count = Field(20, description="labelled probe samples per class at each edge server")
    probes_missing_classes: int = Field(
        0, ge=0, description="classes that are missing in each edge server's probe set, drawn once; 0: none"
    )
    probes_missing_alike: bool = Field(
        False, description="the same classes are missing at all edge servers; false: at each its own"
    )
    probes_wrong_labels: Share = Field(
        0.0, description="share of each edge server's probes whose label is a random wrong one, drawn once"
    )
    rule: Literal["default", "as_written", "evidence"] = Field(
        "evidence",
        description="reputation as the papers mean it; with DTB-FL's penalty floor at rho_min; or a Beta "
        "reputation that moves by what an update shows against what was seen before (docs/decisions/0013)",
    )
    beta: Share = Field(0.5, description="memory of the reputation, eq. 12 (DTB-FL: 0.5)")
    rho_min: Share = Field(0.4, description="least reputation to take part (DTB-FL: 0.4)")
    start: Share = Field(0.5, description="reputation of a newcomer (DTB-FL: 0.5)")
    newcomers: Literal["start", "hybrid"] = Field(
        "start",
        description="all start at start; or by eq. 13: start + bonus if attested before round 1, else rho_min",
    )
    newcomer_bonus: float = Field(
        0.1, ge=0, le=0.2, description="Delta of eq. 13, for newcomers = hybrid (DTB-FL: in [0, 0.2])"
    )
    penalty: Share = Field(0.1, description="taken for an invalid update (DTB-FL: 0.1)")
    severity: float = Field(
        2.0,
        ge=0,
        le=100,
        description="what an invalid update weighs against a valid one, for rule = evidence",
    )
    memory: Share = Field(
        0.9, description="kept of the evidence gathered before, at every judged update, for rule = evidence"
    )
    prior: float = Field(
        1.0, ge=1e-6, le=1000, description="observations that the start value is worth, for rule = evidence"
    )
    pseudonym_rounds: int = Field(
        0, ge=0, description="rounds after which vehicles that took part change pseudonyms together; 0 never"
    )
    probation_slots: int = Field(
        1, ge=0, description="excluded vehicles scored per round without being merged (default rule)"
    )
    weights: Literal["verdict", "reputation"] = Field(
        "verdict",
        description="of a merge under a method that judges: reputation times samples, eq. 14 of DTB-FL, and that "
        "times how clearly the update was found valid (docs/decisions/0018)",
    )


class Aggregation(Section):
    """How the updates that were found valid become the step of the model (docs/aggregation.md)."""

    rule: str = Field(
        "weighted_mean",
        description="aggregator by name; weighted_mean takes the method's weights (eq. 3, 14), the others none",
    )
    pre: str = Field(
        "none", description="before it: clipping (to the median length), nnm, bucketing; joined by +"
    )
    malicious_share: float = Field(
        0.3,
        ge=0,
        lt=0.5,
        description="f: share of the updates that a robust rule bears, rounded down; at most what it can of those "
        "that arrived (DTB-FL's attackers: 0 to 0.4)",
    )
    bucket: Count = Field(2, description="updates per bucket, for pre = bucketing (Karimireddy 2022: 2)")
    tau: Positive | None = Field(
        None, description="radius of centred_clipping, parameter units; None: the median distance, every time"
    )
    server_optimiser: Literal["momentum", "adam", "yogi", "adagrad"] = Field(
        "momentum",
        description="how the merged step is taken: as it is, with momentum if any (FedAvgM), or by FedAdam, "
        "FedYogi or FedAdagrad (Reddi 2021)",
    )
    server_rate: float = Field(
        1.0,
        gt=0,
        le=10,
        description="factor of the merged step (Reddi 2021: server learning rate); 1: as in eq. 3; an adaptive "
        "optimiser wants far less",
    )
    server_momentum: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the model's last step that goes on (Hsu 2019: FedAvgM); 0: none; beta_1 of an "
        "adaptive optimiser (Reddi 2021: 0.9, FedAdagrad 0)",
    )
    server_memory: float = Field(
        0.99, ge=0, le=1, description="beta_2 of adam and yogi: memory of squared steps (Reddi 2021: 0.99)"
    )
    server_adaptivity: float = Field(
        0.001,
        ge=1e-6,
        le=1,
        description="tau of an adaptive optimiser, beside the root of squared steps, parameter units (Reddi 2021: "
        "0.001)",
    )
    iterations: int = Field(
        16, ge=1, le=1000, description="of geometric_median and centred_clipping (ByzFL: 3 and 1)"
    )
