# pragma version 0.4.3
# pragma evm-version london
"""
@title dealings
@license Apache-2.0
@notice What the contracts of a market ask of each other: who an account is, which account a trader uses now, what a
    listing says, how many have voted.
"""

MAX_VIEW: constant(uint256) = 1024

interface Registry:
    def vehicle(account: address) -> (uint256, uint256): view
    def accounts(handles: DynArray[uint256, MAX_VIEW]) -> DynArray[address, MAX_VIEW]: view

interface Catalogue:
    def listing(number: uint256) -> (uint256, address, bytes32, uint256, uint256, uint256, uint256): view

struct Listing:
    seller: uint256  # handle
    owner: address  # account that signed
    asked: uint256  # least price
    threshold: uint256
    exclusive: uint256
    state: uint256


@internal
@view
def handle(registry: address, account: address) -> uint256:
    """
    @notice Of a trader that takes part; reverts for anybody else.
    """
    found: uint256 = 0
    start: uint256 = 0
    found, start = staticcall Registry(registry).vehicle(account)
    assert found != 0, "not registered"
    return found


@internal
@view
def account(registry: address, handle: uint256, otherwise: address) -> address:
    """
    @notice The account that a trader uses now; `otherwise` where it never changed.
    """
    renewed: DynArray[address, MAX_VIEW] = staticcall Registry(registry).accounts([handle])
    return otherwise if renewed[0] == empty(address) else renewed[0]


@internal
@view
def listing(catalogue: address, number: uint256) -> Listing:
    """
    @notice Zeros for a number of no listing.
    """
    found: Listing = empty(Listing)
    model: bytes32 = empty(bytes32)
    found.seller, found.owner, model, found.asked, found.threshold, found.exclusive, found.state = staticcall Catalogue(
        catalogue
    ).listing(number)
    return found


@internal
@pure
def count(bits: uint256) -> uint256:
    """
    @notice How many are set, of 64 seats.
    """
    left: uint256 = bits
    counted: uint256 = 0
    for _: uint256 in range(64):
        if left == 0:
            break
        left &= left - 1
        counted += 1
    return counted
