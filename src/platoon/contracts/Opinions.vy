# pragma version 0.4.3
# pragma evm-version london
MAX_ASKED: constant(uint256) = 32
OPERATOR: public(immutable(address))
trades: public(address)
@deploy
def __init__():
    OPERATOR = msg.sender
@external
def bind(trades: address):
    assert msg.sender == OPERATOR, "only the operator"
    self.trades = trades
@external
def record(buyer: uint256, seller: uint256, at: uint256, positive: bool):
    assert msg.sender == self.trades
@external
@view
def reputations(sellers: DynArray[uint256, MAX_ASKED], at: uint256) -> DynArray[uint256, MAX_ASKED]:
    r: DynArray[uint256, MAX_ASKED] = []
    for s: uint256 in sellers:
        r.append(500000)
    return r
