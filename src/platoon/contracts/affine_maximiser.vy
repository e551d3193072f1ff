# pragma version 0.4.3
# pragma evm-version london
"""
@title affine_maximiser
@license Apache-2.0
@notice Which buyer gets which models and what for: the award that maximises bids and boosts, and for everybody the
    payment that makes bidding one's values best whatever others bid. The Python twin is market/auction/executor.py,
    which says how; both give the same award, payments and ties.
"""

MAX_BUYERS: constant(uint256) = 16
MAX_SETS: constant(uint256) = 256  # 2 to the number of models
NEVER: constant(int256) = -(2**96)


@internal
@pure
def merge(front: DynArray[int256, MAX_SETS], layer: DynArray[int256, MAX_SETS]) -> DynArray[int256, MAX_SETS]:
    """
    @notice The best of giving a part of each set to one buyer, and the rest to those in the front.
    """
    merged: DynArray[int256, MAX_SETS] = []
    for union: uint256 in range(len(front), bound=MAX_SETS):
        best: int256 = unsafe_add(front[union], layer[0])
        part: uint256 = unsafe_sub(0, union) & union
        for _: uint256 in range(MAX_SETS):
            if part == 0:
                break
            value: int256 = unsafe_add(front[union ^ part], layer[part])
            if value > best:
                best = value
            part = unsafe_sub(part, union) & union
        merged.append(best)
    return merged


@internal
@pure
def raise_bid(
    bids: DynArray[uint256, MAX_SETS], bundle: DynArray[int256, MAX_SETS]
) -> DynArray[int256, MAX_SETS]:
    """
    @notice A buyer's layer: its bid for each bundle and the bundle's boost. A bid of one amount a model is spread over
        all bundles first; one of an amount a bundle stands as it is.
    """
    layer: DynArray[int256, MAX_SETS] = [0]
    if len(bids) == len(bundle):
        layer = []
        for i: uint256 in range(len(bids), bound=MAX_SETS):
            layer.append(convert(bids[i], int256))
    else:
        for i: uint256 in range(len(bids), bound=8):
            size: uint256 = len(layer)
            for j: uint256 in range(size, bound=128):
                layer.append(layer[j] + convert(bids[i], int256))
    for i: uint256 in range(len(layer), bound=MAX_SETS):
        layer[i] += bundle[i]
    return layer


@internal
@pure
def execute(
    layers: DynArray[DynArray[int256, MAX_SETS], MAX_BUYERS],
    bundle: DynArray[int256, MAX_SETS],
    unsold: DynArray[int256, MAX_SETS],
) -> (DynArray[uint256, MAX_BUYERS], DynArray[uint256, MAX_BUYERS]):
    """
    @notice Bundles (bit j: model j) and payments, buyer by buyer.
    """
    size: uint256 = len(bundle)
    buyers: uint256 = len(layers)
    fronts: DynArray[DynArray[int256, MAX_SETS], 17] = [unsold]
    bundles: DynArray[uint256, MAX_BUYERS] = []
    payments: DynArray[uint256, MAX_BUYERS] = []
    rear: DynArray[int256, MAX_SETS] = [0]
    for k: uint256 in range(buyers, bound=MAX_BUYERS):
        fronts.append(self.merge(fronts[k], layers[k]))
        bundles.append(0)
        payments.append(0)
    for _: uint256 in range(size - 1, bound=MAX_SETS):
        rear.append(NEVER)
    welfare: int256 = fronts[buyers][size - 1]
    left: uint256 = size - 1
    for k: uint256 in range(buyers, bound=MAX_BUYERS):
        i: uint256 = buyers - 1 - k
        part: uint256 = 0
        for _: uint256 in range(MAX_SETS):
            if fronts[i][left ^ part] + layers[i][part] == fronts[i + 1][left]:
                break
            part = unsafe_sub(part, left) & left
        bundles[i] = part
        left ^= part
        if part != 0:
            without: DynArray[int256, MAX_SETS] = self.merge(fronts[i], bundle)
            best: int256 = without[size - 1] + rear[0]
            for taken: uint256 in range(size, bound=MAX_SETS):
                best = max(best, without[taken] + rear[size - 1 - taken])
            # bids are not negative, so neither is what a buyer's absence adds to the others
            payments[i] = convert(best - welfare + layers[i][part] - bundle[part], uint256)
        rear = self.merge(rear, layers[i])
    return bundles, payments


@internal
@pure
def keeps_asks(
    bundle: DynArray[int256, MAX_SETS], unsold: DynArray[int256, MAX_SETS], asks: DynArray[uint256, 8]
) -> bool:
    """
    @notice Whether nobody can ever pay less for a bundle than its sellers ask together.
    """
    sums: DynArray[int256, MAX_SETS] = [0]
    for ask: uint256 in asks:
        size: uint256 = len(sums)
        for j: uint256 in range(size, bound=128):
            sums.append(sums[j] + convert(ask, int256))
    everything: uint256 = len(bundle) - 1
    for part: uint256 in range(1, len(bundle), bound=MAX_SETS):
        others: uint256 = everything & ~part
        rest: uint256 = 0
        for _: uint256 in range(MAX_SETS):
            if unsold[rest | part] - unsold[rest] - bundle[part] < sums[part]:
                return False
            rest = unsafe_sub(rest, others) & others
            if rest == 0:
                break
    return True
