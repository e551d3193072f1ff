# pragma version 0.4.3
# pragma evm-version london
"""
@title AffineMaximiser
@license Apache-2.0
@notice The mechanism alone, as a view: what an auction of `Auctions.vy` with these bids and boosts would decide. For
    whoever wants to check an award without running the Python twin, and for the tests that hold the two equal. No
    part of any chain needs it.
"""

import affine_maximiser

MAX_BUYERS: constant(uint256) = 16
MAX_SETS: constant(uint256) = 256
MAX_BIDS: constant(uint256) = 1024


@external
@pure
def award(
    bundle: DynArray[int256, MAX_SETS],
    unsold: DynArray[int256, MAX_SETS],
    lengths: DynArray[uint256, MAX_BUYERS],
    amounts: DynArray[uint256, MAX_BIDS],
) -> (DynArray[uint256, MAX_BUYERS], DynArray[uint256, MAX_BUYERS]):
    """
    @notice Bundles and payments, buyer by buyer.
    @param lengths How many amounts each bid has: one a model, or one a bundle.
    @param amounts Of all bids, one after the other.
    """
    layers: DynArray[DynArray[int256, MAX_SETS], MAX_BUYERS] = []
    start: uint256 = 0
    for length: uint256 in lengths:
        own: DynArray[uint256, MAX_SETS] = []
        for k: uint256 in range(length, bound=MAX_SETS):
            own.append(amounts[start + k])
        start += length
        layers.append(affine_maximiser.raise_bid(own, bundle))
    return affine_maximiser.execute(layers, bundle, unsold)


@external
@pure
def keeps_asks(
    bundle: DynArray[int256, MAX_SETS], unsold: DynArray[int256, MAX_SETS], asks: DynArray[uint256, 8]
) -> bool:
    """
    @notice Whether nobody can ever pay less for a bundle than its sellers ask together.
    """
    return affine_maximiser.keeps_asks(bundle, unsold, asks)
