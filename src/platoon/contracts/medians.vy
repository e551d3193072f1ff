# pragma version 0.4.3
# pragma evm-version london
"""
@title medians
@license Apache-2.0
@notice Lower medians of many edge servers' score vectors, eight lanes of 32 bits to a word. Every operation works on
    all lanes of a word at once, so that 64 edge servers x 128 updates stay far below the gas limit, where a sort per
    update would not. Lane values are below 2^31: the top bit of each lane is the guard that keeps lanes apart.
"""

MAX_EDGE_SERVERS: constant(uint256) = 64
ONES: constant(uint256) = 1 + 2**32 + 2**64 + 2**96 + 2**128 + 2**160 + 2**192 + 2**224
LANE: constant(uint256) = 2**31 - 1
GUARDS: constant(uint256) = 2**31 * (1 + 2**32 + 2**64 + 2**96 + 2**128 + 2**160 + 2**192 + 2**224)


@internal
@pure
def lower_median(given: uint256[MAX_EDGE_SERVERS], count: uint256) -> uint256:
    """
    @notice Lane by lane the lower median, element (count - 1) // 2 of the sorted column.
    @dev Bubble sort from the back, stopped when the median is in place: after pass p the p + 1 smallest are in front.
        The comparison: with the guard bit set in `a`, subtracting `b` leaves it set exactly where a >= b.
    """
    rows: uint256[MAX_EDGE_SERVERS] = given
    middle: uint256 = (count - 1) // 2
    for done: uint256 in range(middle + 1, bound=MAX_EDGE_SERVERS):
        least: uint256 = rows[count - 1]  # so far
        for step: uint256 in range(count - 1 - done, bound=MAX_EDGE_SERVERS):
            j: uint256 = unsafe_sub(count - 1, step)
            a: uint256 = rows[unsafe_sub(j, 1)]
            swap: uint256 = (a ^ least) & unsafe_mul((unsafe_sub(a | GUARDS, least) >> 31) & ONES, LANE)
            rows[j] = least ^ swap
            least = a ^ swap
        rows[done] = least
    return rows[middle]


@internal
@pure
def distance(a: uint256, b: uint256) -> uint256:
    """
    @notice Lane by lane how far two words are apart.
    """
    at_least: uint256 = unsafe_sub(a | GUARDS, b) & GUARDS
    swap: uint256 = (a ^ b) & unsafe_sub(at_least, at_least >> 31)
    return unsafe_sub(b ^ swap, a ^ swap)


@internal
@pure
def is_below(word: uint256, limit: uint256) -> bool:
    """
    @notice Whether every lane is below `limit`, itself below 2^31; also for lanes that set their guard bit.
    """
    return (word | unsafe_sub(word | GUARDS, limit * ONES)) & GUARDS == 0


@internal
@pure
def above(word: uint256, limit: uint256) -> uint256:
    """
    @notice The guard bits of the lanes above `limit`; lanes and `limit` are below 2^31.
    """
    return unsafe_add(word, unsafe_mul(unsafe_sub(2**31 - 1, limit), ONES)) & GUARDS


@internal
@pure
def sum_lanes(word: uint256) -> uint256:
    """
    @notice The eight lanes together.
    """
    total: uint256 = 0
    for lane: uint256 in range(8):
        total += (word >> (32 * lane)) & (2**32 - 1)
    return total
