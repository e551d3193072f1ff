# pragma version 0.4.3
# pragma evm-version london
"""
@title clocks
@license Apache-2.0
@notice What time it is, for contracts in which something expires. There is no clock on a chain: every edge server says
    what time it has, never an earlier one than before. The contract's time is the latest that more than a third of the
    active edge servers have reached. So no tolerated number of lying ones can run it ahead (and have everything
    expire), nor hold it back by claiming an early time. The Python twin is ledger/model_clocks.py.
"""

MAX_EDGE_SERVERS: constant(uint256) = 64
MAX_NUMBER: constant(uint256) = 2**63 - 1

interface Registry:
    def edge_server(account: address) -> (uint256, uint256): view

times: uint256[MAX_EDGE_SERVERS]  # by seat: the latest that an edge server claimed


@internal
@view
def now(active: uint256) -> uint256:
    """
    @notice The latest time that more than a third of the active edge servers have reached.
    """
    times: DynArray[uint256, MAX_EDGE_SERVERS] = []
    for seat: uint256 in range(MAX_EDGE_SERVERS):
        if (active >> seat) & 1 == 1:
            times.append(self.times[seat])
    latest: uint256 = 0
    for time: uint256 in times:
        if time <= latest:
            continue
        reached: uint256 = 0
        for other: uint256 in times:
            if other >= time:
                reached += 1
        if 3 * reached > len(times):
            latest = time
    return latest


@internal
def enter(registry: address, at: uint256) -> uint256:
    """
    @notice Takes the time of the caller, which must be an active edge server; the time that deadlines are held against.
    """
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = staticcall Registry(registry).edge_server(msg.sender)
    assert at <= MAX_NUMBER, "time out of bounds"
    assert at >= self.times[seat], "time runs backwards"
    self.times[seat] = at
    return max(at, self.now(active))


@internal
@view
def time_of(registry: address, edge_server: address) -> uint256:
    seat: uint256 = 0
    active: uint256 = 0
    seat, active = staticcall Registry(registry).edge_server(edge_server)
    return self.times[seat]
