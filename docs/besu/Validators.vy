# pragma version 0.4.3
# pragma evm-version london
# SPDX-License-Identifier: Apache-2.0
"""
Who validates: Besu asks getValidators() for every block. Each validator votes for the list that it wants; a list
that more than two thirds of the validators vote for is the list.
"""

validators: DynArray[address, 16]
votes: HashMap[address, bytes32]


@external
@view
def getValidators() -> DynArray[address, 16]:
    return self.validators


@external
def vote(wanted: DynArray[address, 16]):
    assert msg.sender in self.validators, "not a validator"
    assert len(wanted) >= 4, "fewer than four validators tolerate no fault"
    for i: uint256 in range(len(wanted), bound=16):
        assert wanted[i] != empty(address), "no validator"
        if i > 0:
            assert convert(wanted[i], uint160) > convert(wanted[i - 1], uint160), "not ascending"
    name: bytes32 = keccak256(abi_encode(wanted))
    self.votes[msg.sender] = name
    count: uint256 = 0
    for validator: address in self.validators:
        if self.votes[validator] == name:
            count += 1
    if count >= 2 * len(self.validators) // 3 + 1:
        self.validators = wanted
