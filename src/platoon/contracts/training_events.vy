# pragma version 0.4.3
# pragma evm-version london
"""
@title training_events
@license Apache-2.0
@notice What Training says. Of a round's updates it says everything at once, a word for each: records/packed.py.
"""

MAX_EDGE_SERVERS: constant(uint256) = 64
MAX_UPDATES: constant(uint256) = 128

event Recorded:
    round: indexed(uint256)
    edge_server: indexed(address)
    vehicles: DynArray[uint256, MAX_UPDATES]  # vehicle << 96 | samples, of the entries that were taken
    digests: DynArray[bytes32, MAX_UPDATES]

event Refused:
    round: indexed(uint256)
    vehicle: indexed(address)
    edge_server: indexed(address)
    digest: bytes32
    reason: uint256

event ProbeCommitted:
    edge_server: indexed(address)
    digest: bytes32

event RecordingClosed:
    round: indexed(uint256)
    updates: bytes32
    count: uint256

event Scored:
    round: indexed(uint256)
    edge_server: indexed(address)
    evidence: uint256

event Judged:
    round: indexed(uint256)
    evidence: uint256
    scorers: uint256
    merged: uint256
    verdicts: DynArray[uint256, MAX_UPDATES]  # vehicle << 96 | (score + 10^6) << 2 | merged << 1 | valid, ascending

event Deviations:
    round: indexed(uint256)
    scorers: uint256  # bits of seats
    values: DynArray[uint256, MAX_EDGE_SERVERS]  # mean distance from the medians, by seat of those who scored

event Voted:
    round: indexed(uint256)
    edge_server: indexed(address)
    digest: bytes32

event Settled:
    round: indexed(uint256)
    model: bytes32
    paid: uint256
    standings: DynArray[uint256, MAX_UPDATES]  # reward << 64 | reputation before << 32 | now, in the verdicts' order

event Closed:
    round: indexed(uint256)
