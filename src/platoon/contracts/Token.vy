# pragma version 0.4.3
# pragma evm-version london
"""
@title Token
@license Apache-2.0
@notice The token of a task chain, in integers of 10^-6 (ERC-20). The operator mints at setup, until it closes minting;
    the supply stays below 2^63, so that every amount fits the integers of any reader.
"""

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    amount: uint256

event Approval:
    owner: indexed(address)
    spender: indexed(address)
    amount: uint256

event MintingClosed:
    pass

MAX_SUPPLY: constant(uint256) = 2**63 - 1
BATCH: constant(uint256) = 128
MAX_VIEW: constant(uint256) = 1024

name: public(constant(String[16])) = "platoon"
symbol: public(constant(String[8])) = "PLT"
decimals: public(constant(uint8)) = 6

OPERATOR: public(immutable(address))
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
totalSupply: public(uint256)
minting_closed: public(bool)


@deploy
def __init__():
    OPERATOR = msg.sender


@external
def mint(receiver: address, amount: uint256):
    assert msg.sender == OPERATOR, "only the operator"
    assert not self.minting_closed, "minting is closed"
    assert receiver != empty(address), "no account"
    assert amount <= MAX_SUPPLY - self.totalSupply, "supply out of bounds"
    self.totalSupply += amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=empty(address), receiver=receiver, amount=amount)


@external
def close_minting():
    assert msg.sender == OPERATOR, "only the operator"
    assert not self.minting_closed, "minting is closed"
    self.minting_closed = True
    log MintingClosed()


@external
@view
def balances(accounts: DynArray[address, MAX_VIEW]) -> DynArray[uint256, MAX_VIEW]:
    result: DynArray[uint256, MAX_VIEW] = []
    for account: address in accounts:
        result.append(self.balanceOf[account])
    return result


@internal
def _move(sender: address, receiver: address, amount: uint256):
    assert receiver != empty(address), "no account"
    assert self.balanceOf[sender] >= amount, "balance too small"
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=sender, receiver=receiver, amount=amount)


@external
def transfer(receiver: address, amount: uint256) -> bool:
    self._move(msg.sender, receiver, amount)
    return True


@external
def transfer_many(receivers: DynArray[address, BATCH], amounts: DynArray[uint256, BATCH]):
    assert len(receivers) == len(amounts), "lengths differ"
    left: uint256 = self.balanceOf[msg.sender]
    for i: uint256 in range(len(receivers), bound=BATCH):
        receiver: address = receivers[i]
        amount: uint256 = amounts[i]
        assert receiver != empty(address), "no account"
        assert left >= amount, "balance too small"
        if receiver != msg.sender:
            left = unsafe_sub(left, amount)
            self.balanceOf[receiver] += amount
        log Transfer(sender=msg.sender, receiver=receiver, amount=amount)
    self.balanceOf[msg.sender] = left


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    log Approval(owner=msg.sender, spender=spender, amount=amount)
    return True


@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    assert self.allowance[owner][msg.sender] >= amount, "allowance too small"
    self.allowance[owner][msg.sender] -= amount
    self._move(owner, receiver, amount)
    return True
