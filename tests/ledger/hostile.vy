# pragma version 0.4.3
# pragma evm-version london
"""
@title hostile
@license Apache-2.0
@notice A double of Token, Registry, Training and Checkpoint that calls back into whoever calls it, with a call that it
    was given before; and an account that may be the publisher or an edge server, so that nothing but a lock refuses it.
"""

target: address
payload: Bytes[1024]
depth: uint256
attempts: public(uint256)
successes: public(uint256)


@external
def aim(target: address, payload: Bytes[1024]):
    self.target = target
    self.payload = payload


@internal
def _strike():
    if self.depth < 2:
        self.depth += 1
        self.attempts += 1
        if raw_call(self.target, self.payload, revert_on_failure=False):
            self.successes += 1
        self.depth -= 1


@external
def strike():
    self._strike()


@external
def transfer(receiver: address, amount: uint256) -> bool:
    self._strike()
    return True


@external
def transferFrom(owner: address, receiver: address, amount: uint256) -> bool:
    self._strike()
    return True


@external
def transfer_many(receivers: DynArray[address, 128], amounts: DynArray[uint256, 128]):
    self._strike()


@external
@view
def balanceOf(account: address) -> uint256:
    return 1000


@external
@view
def role(account: address) -> uint256:
    return 3


@external
@view
def edge_server(account: address) -> (uint256, uint256):
    return 0, 1


@external
@view
def members() -> (DynArray[address, 64], uint256):
    return [self], 1


@external
@view
def closed() -> bool:
    return True


@external
@view
def TASK() -> bytes32:
    return empty(bytes32)


@external
@view
def TRAINING() -> address:
    return self
