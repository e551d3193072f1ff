# pragma version 0.4.3
# pragma evm-version london
"""
@title sorting
@license Apache-2.0
@notice Ascending order of at most 128 words, in memory: a merge sort of the ascending runs that are there, so that what
    edge servers bring in order is cheap, and no order in which they record costs more than seven passes.
"""

MAX_WORDS: constant(uint256) = 128


@internal
@pure
def ascending(given: uint256[MAX_WORDS], count: uint256) -> uint256[MAX_WORDS]:
    """
    @notice The first `count` words in ascending order.
    """
    starts: uint256[MAX_WORDS + 1] = empty(uint256[MAX_WORDS + 1])  # of the runs; behind the last, `count`
    runs: uint256 = 0
    last: uint256 = max_value(uint256)
    for i: uint256 in range(count, bound=MAX_WORDS):
        if given[i] < last:
            starts[runs] = i
            runs = unsafe_add(runs, 1)
        last = given[i]
    starts[runs] = count
    sorted_: uint256[MAX_WORDS] = given
    merged: uint256[MAX_WORDS] = empty(uint256[MAX_WORDS])
    for done: uint256 in range(7):
        if runs <= 1:
            break
        pairs: uint256 = (runs + 1) // 2
        for pair: uint256 in range(pairs, bound=MAX_WORDS // 2):
            left: uint256 = starts[2 * pair]
            middle: uint256 = starts[min(2 * pair + 1, runs)]
            right: uint256 = middle
            end: uint256 = starts[min(2 * pair + 2, runs)]
            starts[pair] = left
            for i: uint256 in range(left, end, bound=MAX_WORDS):
                if right == end or (left < middle and sorted_[left] < sorted_[right]):
                    merged[i] = sorted_[left]
                    left = unsafe_add(left, 1)
                else:
                    merged[i] = sorted_[right]
                    right = unsafe_add(right, 1)
        starts[pairs] = count
        runs = pairs
        sorted_ = merged
    return sorted_
