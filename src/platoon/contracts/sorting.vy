# pragma version 0.4.3
# pragma evm-version london
"""
@title sorting
@license Apache-2.0
@notice Ascending order of at most 128 words, in memory: bottom-up merge sort, so that no order in which edge servers
    record costs more than another.
"""

MAX_WORDS: constant(uint256) = 128


@internal
@pure
def ascending(given: uint256[MAX_WORDS], count: uint256) -> uint256[MAX_WORDS]:
    """
    @notice The first `count` words in ascending order.
    """
    sorted_: uint256[MAX_WORDS] = given
    merged: uint256[MAX_WORDS] = empty(uint256[MAX_WORDS])
    width: uint256 = 1  # of the runs that are sorted by themselves
    for done: uint256 in range(7):
        if width >= count:
            break
        left: uint256 = 0
        middle: uint256 = width
        right: uint256 = width
        end: uint256 = min(2 * width, count)
        for i: uint256 in range(count, bound=MAX_WORDS):
            if i == end:
                left = i
                middle = min(i + width, count)
                right = middle
                end = min(i + 2 * width, count)
            if right == end or (left < middle and sorted_[left] < sorted_[right]):
                merged[i] = sorted_[left]
                left += 1
            else:
                merged[i] = sorted_[right]
                right += 1
        sorted_ = merged
        width *= 2
    return sorted_
