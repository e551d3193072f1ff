# pragma version 0.4.3
# pragma evm-version london
"""
@title Registry
@license Apache-2.0
@notice Who takes part in a task chain, and as what. The operator (the deployer) registers and revokes; an account has
    one role for good, and a revoked account never returns. Edge servers have seats: position in the list, never reused,
    so that other contracts can keep "who has done it" as one bit per seat.
"""

event Registered:
    role: indexed(uint256)
    accounts: DynArray[address, BATCH]

event Revoked:
    account: indexed(address)
    role: indexed(uint256)

MAX_EDGE_SERVERS: constant(uint256) = 64
BATCH: constant(uint256) = 256

EDGE_SERVER: constant(uint256) = 1
VEHICLE: constant(uint256) = 2
PUBLISHER: constant(uint256) = 3
REVOKED: constant(uint256) = 4

OPERATOR: public(immutable(address))
role: public(HashMap[address, uint256])
seat: HashMap[address, uint256]
edge_servers: DynArray[address, MAX_EDGE_SERVERS]
active: uint256  # bit i: the edge server in seat i takes part


@deploy
def __init__():
    OPERATOR = msg.sender


@external
def register(role: uint256, accounts: DynArray[address, BATCH]):
    assert msg.sender == OPERATOR, "only the operator"
    assert role >= EDGE_SERVER and role <= PUBLISHER, "no such role"
    for account: address in accounts:
        assert account != empty(address), "no account"
        assert self.role[account] == 0, "registered before"
        self.role[account] = role
        if role == EDGE_SERVER:
            position: uint256 = len(self.edge_servers)
            assert position < MAX_EDGE_SERVERS, "no seat left"
            self.seat[account] = position
            self.edge_servers.append(account)
            self.active |= 1 << position
    log Registered(role=role, accounts=accounts)


@external
def revoke(account: address):
    assert msg.sender == OPERATOR, "only the operator"
    role: uint256 = self.role[account]
    assert role >= EDGE_SERVER and role <= PUBLISHER, "not registered"
    self.role[account] = REVOKED
    if role == EDGE_SERVER:
        self.active &= ~(1 << self.seat[account])
    log Revoked(account=account, role=role)


@external
@view
def edge_server(account: address) -> (uint256, uint256):
    """
    @notice The seat of an edge server that takes part, and the bits of all that do. Reverts for anybody else.
    """
    assert self.role[account] == EDGE_SERVER, "not an edge server"
    return self.seat[account], self.active


@external
@view
def members() -> (DynArray[address, MAX_EDGE_SERVERS], uint256):
    """
    @notice Every edge server ever registered, by seat, and the bits of those that take part.
    """
    return self.edge_servers, self.active
