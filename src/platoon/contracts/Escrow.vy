# pragma version 0.4.3
# pragma evm-version london
"""
@title Escrow
@license Apache-2.0
@notice Holds the publisher's tokens for one task. Only the task's Training contract pays from it; what is not paid
    stays, and goes back to the publisher when the task is closed. Every unit is in the token's balances: the escrow
    keeps no books of its own that could differ.
"""

BATCH: constant(uint256) = 128
PUBLISHER_ROLE: constant(uint256) = 3

interface Registry:
    def role(account: address) -> uint256: view

interface Token:
    def balanceOf(account: address) -> uint256: view
    def transfer(receiver: address, amount: uint256) -> bool: nonpayable
    def transferFrom(owner: address, receiver: address, amount: uint256) -> bool: nonpayable
    def transfer_many(receivers: DynArray[address, BATCH], amounts: DynArray[uint256, BATCH]): nonpayable

interface Training:
    def closed() -> bool: view

event Bound:
    training: indexed(address)

event Funded:
    amount: uint256

event Withdrawn:
    amount: uint256

OPERATOR: public(immutable(address))
REGISTRY: public(immutable(address))
TOKEN: public(immutable(address))
PUBLISHER: public(immutable(address))
training: public(address)


@deploy
def __init__(registry: address, token: address, publisher: address):
    OPERATOR = msg.sender
    REGISTRY = registry
    TOKEN = token
    PUBLISHER = publisher


@external
def bind(training: address):
    """
    @notice Names the Training contract, once: it needs the escrow's address, so it is deployed after it.
    """
    assert msg.sender == OPERATOR, "only the operator"
    assert self.training == empty(address), "bound before"
    assert training != empty(address), "no account"
    self.training = training
    log Bound(training=training)


@external
@nonreentrant
def fund(amount: uint256):
    assert msg.sender == PUBLISHER, "only the publisher"
    assert staticcall Registry(REGISTRY).role(PUBLISHER) == PUBLISHER_ROLE, "not a publisher"
    assert extcall Token(TOKEN).transferFrom(PUBLISHER, self, amount), "transfer failed"
    log Funded(amount=amount)


@external
@view
def available() -> uint256:
    return staticcall Token(TOKEN).balanceOf(self)


@external
@nonreentrant
def pay(receivers: DynArray[address, BATCH], amounts: DynArray[uint256, BATCH]):
    assert msg.sender == self.training, "only the training"
    extcall Token(TOKEN).transfer_many(receivers, amounts)


@external
@nonreentrant
def withdraw():
    assert msg.sender == PUBLISHER, "only the publisher"
    assert self.training != empty(address), "not bound"
    assert staticcall Training(self.training).closed(), "the task is open"
    amount: uint256 = staticcall Token(TOKEN).balanceOf(self)
    assert extcall Token(TOKEN).transfer(PUBLISHER, amount), "transfer failed"
    log Withdrawn(amount=amount)
