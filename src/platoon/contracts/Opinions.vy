# pragma version 0.4.3
# pragma evm-version london
"""
@title Opinions
@license Apache-2.0
@notice Reputations of sellers on a model market (TL market's contract of reputation), from what buyers found.

    After a trade its buyer rates once, positive or negative; only the Trades contract brings ratings here. They count
    for the period that they are made in and the periods before it, `periods` in all, and then leave exactly. From
    them follow: the direct value D of a buyer with a seller; trust of a buyer in another one, the correlation of
    their direct values over sellers that both rated, nothing where it is negative; the integrated value r of a buyer
    (own, of friends by trust, of strangers); and market-wide reputations, which auctions freeze.

    Market-wide, every buyer is one voice, weighed by its agreement with the others' weighed mean, in three rounds. Who
    does not agree has no weight. Where half of the raters lie consistently, nothing in the ratings tells which half:
    then the referees decide, buyers of the operator's trust by whom agreement is measured where there are any.

    Values, trust and weights are parts per million, every division rounds down. The Python twin is records/opinions.py.
@dev The 64 buyers and 32 sellers that were rated or rating last are looked at where all have to be.
"""

import medians

MAX_BUYERS: constant(uint256) = 64
MAX_SELLERS: constant(uint256) = 32
MAX_REFEREES: constant(uint256) = 8
PERIODS: constant(uint256) = 8
ROUNDS: constant(uint256) = 3
MILLION: constant(uint256) = 10**6
MAX_HANDLE: constant(uint256) = 2**128 - 1
MAX_PERIOD: constant(uint256) = 2**32 - 1
MAX_NUMBER: constant(uint256) = 2**63 - 1
MAX_STRENGTH: constant(uint256) = 2**40
LEAST_VARIANCE: constant(uint256) = 10**6  # a deviation of a thousandth: what is less comes from rounding

# a cell, of a buyer and a seller: lanes of 28 bits, the newest period first, each all << 14 | positive; << 32 | newest
LANE: constant(uint256) = 28
HALF: constant(uint256) = 14
MAX_COUNT: constant(uint256) = 2**14 - 1  # of a pair in a period
LANES: constant(uint256) = 2**224 - 1
ONES: constant(uint256) = 1 + 2**28 + 2**56 + 2**84 + 2**112 + 2**140 + 2**168 + 2**196

# a seat: referee << 255 | period of the last rating << 128 | handle
REFEREE: constant(uint256) = 2**255

SHARED_DIRECT: constant(uint256) = 0
AS_WRITTEN: constant(uint256) = 1
LEARNED: constant(uint256) = 0
EQUAL: constant(uint256) = 1

struct Rules:
    mode: uint256  # 0: others' direct values are used; 1: the integrated values that they uploaded (as written)
    trust: uint256  # 0: learned from agreement; 1: all that can be compared are trusted alike
    direct: uint256  # weights a, b, c
    recommended: uint256
    referenced: uint256
    prior: uint256  # of a seller without any rating
    strength: uint256  # what the prior weighs, parts per million of a trusted buyer
    least_common: uint256  # sellers that two must both have rated to be compared
    period: uint256  # microseconds
    periods: uint256  # that count, the present one included

event Bound:
    trades: indexed(address)

event Appointed:
    referee: indexed(uint256)

event Rated:
    buyer: indexed(uint256)
    seller: indexed(uint256)
    positive: bool
    at: uint256
    positives: uint256  # of this buyer with this seller in the window
    events: uint256
    uploaded: uint256  # what others take from now on: the direct value, or the integrated one (as written)

OPERATOR: public(immutable(address))
RULES: immutable(Rules)
WINDOW: immutable(uint256)  # the lanes of the periods that count

trades: public(address)
latest: public(uint256)  # time of the last rating
cells: HashMap[uint256, HashMap[uint256, uint256]]  # by buyer, by seller
uploads: HashMap[uint256, HashMap[uint256, uint256]]  # as written: the integrated value of the last rating
buyers: uint256[MAX_BUYERS]  # seats
sellers: uint256[MAX_SELLERS]
buyers_seated: uint256
sellers_seated: uint256
buyer_seat: HashMap[uint256, uint256]  # by handle: seat + 1
seller_seat: HashMap[uint256, uint256]
referees: public(uint256)  # how many
is_referee: public(HashMap[uint256, bool])


@deploy
def __init__(rules: Rules):
    assert rules.mode <= AS_WRITTEN, "mode"
    assert rules.trust <= EQUAL, "trust"
    assert rules.direct <= MILLION and rules.recommended <= MILLION and rules.referenced <= MILLION, "weights"
    assert rules.direct + rules.recommended + rules.referenced > 0, "weights"
    assert rules.prior <= MILLION, "prior"
    assert rules.strength <= MAX_STRENGTH, "strength"
    assert rules.least_common >= 2 and rules.least_common <= MAX_SELLERS, "least_common"
    assert rules.period > 0 and rules.period <= MAX_NUMBER, "period"
    assert rules.periods > 0 and rules.periods <= PERIODS, "periods"
    OPERATOR = msg.sender
    RULES = rules
    WINDOW = 2 ** (LANE * rules.periods) - 1


@external
def bind(trades: address):
    """
    @notice Names the contract that may bring ratings, once.
    """
    assert msg.sender == OPERATOR, "only the operator"
    assert self.trades == empty(address), "bound before"
    assert trades != empty(address), "no account"
    self.trades = trades
    log Bound(trades=trades)


@external
def appoint(referee: uint256):
    """
    @notice A buyer by whom agreement is measured from now on, for good.
    """
    assert msg.sender == OPERATOR, "only the operator"
    assert referee > 0 and referee <= MAX_HANDLE, "no such handle"
    assert not self.is_referee[referee], "appointed before"
    assert self.referees < MAX_REFEREES, "too many referees"
    self.referees += 1
    self.is_referee[referee] = True
    log Appointed(referee=referee)


# ---- what is counted --------------------------------------------------------------------------------------------

@internal
@view
def _period(at: uint256) -> uint256:
    assert at >= self.latest, "time runs backwards"
    period: uint256 = at // RULES.period
    assert period <= MAX_PERIOD, "time out of bounds"
    return period


@internal
@pure
def _shift(cell: uint256, period: uint256) -> uint256:
    """
    @notice The lanes of a cell as they stand in a later period.
    """
    passed: uint256 = period - (cell & MAX_PERIOD)
    if passed >= PERIODS:
        return 0
    return ((cell >> 32) << (LANE * passed)) & LANES


@internal
@view
def _count(buyer: uint256, seller: uint256, period: uint256) -> (uint256, uint256):
    """
    @notice Positive and all events in the window.
    @dev All lanes are summed by one product: the sum of lanes 0 to 7 is its lane 7, and no sum outgrows a lane.
    """
    cell: uint256 = self.cells[buyer][seller]
    passed: uint256 = unsafe_sub(period, cell & MAX_PERIOD)
    if cell == 0 or passed >= PERIODS:
        return 0, 0
    lanes: uint256 = ((cell >> 32) << unsafe_mul(LANE, passed)) & WINDOW
    positives: uint256 = lanes & (MAX_COUNT * ONES)
    events: uint256 = (lanes >> HALF) & (MAX_COUNT * ONES)
    return (
        (unsafe_mul(positives, ONES) >> (7 * LANE)) & (2**LANE - 1),
        (unsafe_mul(events, ONES) >> (7 * LANE)) & (2**LANE - 1),
    )


@internal
@pure
def _value(positives: uint256, events: uint256) -> uint256:
    """
    @notice A direct value + 1; 0 where there are no events.
    """
    return unsafe_add(unsafe_div(unsafe_mul(positives, MILLION), events), 1) if events > 0 else 0


@internal
@pure
def _evidence(events: uint256) -> uint256:
    """
    @notice What a value of so many events has of its buyer's voice: n / (n + 1).
    """
    return unsafe_div(unsafe_mul(events, MILLION), unsafe_add(events, 1))


@internal
def _seat_buyer(buyer: uint256, period: uint256):
    """
    @notice Gives a buyer a seat: its own, a free one, or that of the buyer who has not rated for longest and is no
        referee (of several, the least handle).
    """
    taken: uint256 = period << 128 | buyer
    if self.is_referee[buyer]:
        taken |= REFEREE
    seat: uint256 = self.buyer_seat[buyer]
    if seat == 0:
        if self.buyers_seated < MAX_BUYERS:
            self.buyers_seated += 1
            seat = self.buyers_seated
        else:
            least: uint256 = max_value(uint256)
            for i: uint256 in range(MAX_BUYERS):
                word: uint256 = self.buyers[i]
                if word < least:
                    least = word
                    seat = i + 1
            self.buyer_seat[least & MAX_HANDLE] = 0
        self.buyer_seat[buyer] = seat
    self.buyers[seat - 1] = taken


@internal
def _seat_seller(seller: uint256, period: uint256):
    """
    @notice The same for a seller.
    """
    seat: uint256 = self.seller_seat[seller]
    if seat == 0:
        if self.sellers_seated < MAX_SELLERS:
            self.sellers_seated += 1
            seat = self.sellers_seated
        else:
            least: uint256 = max_value(uint256)
            for i: uint256 in range(MAX_SELLERS):
                word: uint256 = self.sellers[i]
                if word < least:
                    least = word
                    seat = i + 1
            self.seller_seat[least & MAX_HANDLE] = 0
        self.seller_seat[seller] = seat
    self.sellers[seat - 1] = period << 128 | seller


@external
def record(buyer: uint256, seller: uint256, at: uint256, positive: bool):
    """
    @notice One rating: of a buyer, by handle, of a seller whose model it bought.
    """
    assert msg.sender == self.trades, "only the trades"
    assert buyer > 0 and buyer <= MAX_HANDLE and seller > 0 and seller <= MAX_HANDLE, "no such handle"
    assert buyer != seller, "rates itself"
    assert at <= MAX_NUMBER, "time out of bounds"
    period: uint256 = self._period(at)
    self.latest = at
    lanes: uint256 = self._shift(self.cells[buyer][seller], period)
    assert (lanes >> HALF) & MAX_COUNT < MAX_COUNT, "too many ratings in a period"
    lanes += 1 << HALF | (1 if positive else 0)
    self.cells[buyer][seller] = lanes << 32 | period
    self._seat_buyer(buyer, period)
    self._seat_seller(seller, period)
    positives: uint256 = 0
    events: uint256 = 0
    positives, events = self._count(buyer, seller, period)
    uploaded: uint256 = positives * MILLION // events
    if RULES.mode == AS_WRITTEN:
        is_defined: bool = False
        uploaded, is_defined = self._integrate(buyer, seller, period)
        self.uploads[buyer][seller] = uploaded
    log Rated(
        buyer=buyer,
        seller=seller,
        positive=positive,
        at=at,
        positives=positives,
        events=events,
        uploaded=uploaded,
    )


# ---- trust, and the values of one buyer -------------------------------------------------------------------------

@internal
@view
def _row(buyer: uint256, period: uint256) -> uint256[MAX_SELLERS]:
    """
    @notice A buyer's direct values + 1, by seat of the seller; 0 where there are none.
    """
    row: uint256[MAX_SELLERS] = empty(uint256[MAX_SELLERS])
    for j: uint256 in range(self.sellers_seated, bound=MAX_SELLERS):
        positives: uint256 = 0
        events: uint256 = 0
        positives, events = self._count(buyer, self.sellers[j] & MAX_HANDLE, period)
        row[j] = self._value(positives, events)
    return row


@internal
@view
def _agree(a: uint256[MAX_SELLERS], b: uint256[MAX_SELLERS], count: uint256) -> (uint256, bool, uint256):
    """
    @notice Trust by two rows of values + 1, whether it is defined, and over how many sellers: their correlation
        (Pearson), 0 where it is negative. It is not defined over too few sellers, nor where one holds all alike.
    """
    common: uint256 = 0
    sum_a: uint256 = 0
    sum_b: uint256 = 0
    squares_a: uint256 = 0
    squares_b: uint256 = 0
    products: uint256 = 0
    for j: uint256 in range(count, bound=MAX_SELLERS):
        x: uint256 = a[j]
        y: uint256 = b[j]
        if x == 0 or y == 0:
            continue
        common = unsafe_add(common, 1)
        x = unsafe_sub(x, 1)
        y = unsafe_sub(y, 1)
        sum_a = unsafe_add(sum_a, x)
        sum_b = unsafe_add(sum_b, y)
        squares_a = unsafe_add(squares_a, unsafe_mul(x, x))
        squares_b = unsafe_add(squares_b, unsafe_mul(y, y))
        products = unsafe_add(products, unsafe_mul(x, y))
    if common < RULES.least_common:
        return 0, False, common
    spread_a: uint256 = common * squares_a - sum_a * sum_a
    spread_b: uint256 = common * squares_b - sum_b * sum_b
    if min(spread_a, spread_b) < common * common * LEAST_VARIANCE:
        return 0, False, common
    if RULES.trust == EQUAL:
        return MILLION, True, common
    together: uint256 = common * products
    apart: uint256 = sum_a * sum_b
    if together <= apart:
        return 0, True, common
    return min((together - apart) * MILLION // isqrt(spread_a * spread_b), MILLION), True, common


@internal
@view
def _is_within(seat: uint256, period: uint256) -> bool:
    return ((seat & ~REFEREE) >> 128) + RULES.periods > period


@internal
@view
def _integrate(buyer: uint256, seller: uint256, period: uint256) -> (uint256, bool):
    """
    @notice The integrated value (the prior where no term is defined) and whether any term is.
    """
    positives: uint256 = 0
    events: uint256 = 0
    positives, events = self._count(buyer, seller, period)
    weights: uint256 = 0
    total: uint256 = 0
    if events > 0:
        weights = RULES.direct
        total = RULES.direct * (positives * MILLION // events)
    own: uint256[MAX_SELLERS] = self._row(buyer, period)
    trusts: uint256 = 0
    trusted: uint256 = 0
    strangers: uint256 = 0
    heard: uint256 = 0
    for i: uint256 in range(self.buyers_seated, bound=MAX_BUYERS):
        seat: uint256 = self.buyers[i]
        other: uint256 = seat & MAX_HANDLE
        if other == buyer or not self._is_within(seat, period):
            continue
        positives, events = self._count(other, seller, period)
        if events == 0:
            continue
        said: uint256 = positives * MILLION // events
        if RULES.mode == AS_WRITTEN:
            said = self.uploads[other][seller]
        trust: uint256 = 0
        is_friend: bool = False
        common: uint256 = 0
        trust, is_friend, common = self._agree(own, self._row(other, period), self.sellers_seated)
        if is_friend:
            trusts += trust
            trusted += trust * said
        else:
            strangers += 1
            heard += said
    if trusts > 0:
        weights += RULES.recommended
        total += RULES.recommended * (trusted // trusts)
    if strangers > 0:
        weights += RULES.referenced
        total += RULES.referenced * (heard // strangers)
    if weights == 0:
        return RULES.prior, False
    return total // weights, True


# ---- market-wide ------------------------------------------------------------------------------------------------

@internal
@view
def _median_upload(seller: uint256, period: uint256) -> uint256:
    """
    @notice As written: the lower median of what buyers uploaded of a seller.
    """
    said: uint256[MAX_BUYERS] = empty(uint256[MAX_BUYERS])
    count: uint256 = 0
    for i: uint256 in range(self.buyers_seated, bound=MAX_BUYERS):
        buyer: uint256 = self.buyers[i] & MAX_HANDLE
        positives: uint256 = 0
        events: uint256 = 0
        positives, events = self._count(buyer, seller, period)
        if events > 0:
            said[count] = self.uploads[buyer][seller]
            count += 1
    return medians.lower_median(said, count) if count > 0 else RULES.prior


@internal
@view
def _weigh(period: uint256) -> (uint256[MAX_BUYERS], uint256):
    """
    @notice What the voice of each buyer weighs, by seat, and the bits of the seats of strangers: those who cannot be
        compared with the others.
    @dev A value of n events counts n / (n + 1) of its buyer's weight. A row is value + 1 << 64 | evidence.
    """
    weights: uint256[MAX_BUYERS] = empty(uint256[MAX_BUYERS])
    rows: uint256[MAX_SELLERS][MAX_BUYERS] = empty(uint256[MAX_SELLERS][MAX_BUYERS])
    handles: uint256[MAX_SELLERS] = empty(uint256[MAX_SELLERS])
    seated: uint256 = self.sellers_seated
    present: uint256 = 0
    judges: uint256 = 0  # bits of the referees
    for j: uint256 in range(seated, bound=MAX_SELLERS):
        handles[j] = self.sellers[j] & MAX_HANDLE
    for i: uint256 in range(self.buyers_seated, bound=MAX_BUYERS):
        seat: uint256 = self.buyers[i]
        if not self._is_within(seat, period):
            continue
        present |= 1 << i
        if self.is_referee[seat & MAX_HANDLE]:
            judges |= 1 << i
        for j: uint256 in range(seated, bound=MAX_SELLERS):
            positives: uint256 = 0
            events: uint256 = 0
            positives, events = self._count(seat & MAX_HANDLE, handles[j], period)
            if events > 0:
                rows[i][j] = self._value(positives, events) << 64 | self._evidence(events)
    compared: uint256 = present & ~judges
    first: uint256 = judges if judges != 0 else present
    for i: uint256 in range(MAX_BUYERS):
        weights[i] = MILLION * ((first >> i) & 1)
    strangers: uint256 = 0
    for _round: uint256 in range(ROUNDS):
        mass: uint256[MAX_SELLERS] = empty(uint256[MAX_SELLERS])
        sums: uint256[MAX_SELLERS] = empty(uint256[MAX_SELLERS])
        for i: uint256 in range(MAX_BUYERS):
            weight: uint256 = weights[i]
            if weight == 0:
                continue
            row: uint256[MAX_SELLERS] = rows[i]
            for j: uint256 in range(seated, bound=MAX_SELLERS):
                said: uint256 = row[j]
                if said != 0:
                    share: uint256 = unsafe_div(unsafe_mul(weight, said & (2**64 - 1)), MILLION)
                    mass[j] = unsafe_add(mass[j], share)
                    sums[j] = unsafe_add(sums[j], unsafe_mul(share, unsafe_sub(said >> 64, 1)))
        strangers = 0
        for i: uint256 in range(MAX_BUYERS):
            if (compared >> i) & 1 == 0:
                continue
            weight: uint256 = weights[i]
            own: uint256[MAX_SELLERS] = rows[i]
            others: uint256[MAX_SELLERS] = empty(uint256[MAX_SELLERS])
            for j: uint256 in range(seated, bound=MAX_SELLERS):
                said: uint256 = own[j]
                if said == 0:
                    continue
                share: uint256 = unsafe_div(unsafe_mul(weight, said & (2**64 - 1)), MILLION)
                left: uint256 = unsafe_sub(mass[j], share)
                own[j] = said >> 64
                if left != 0:
                    rest: uint256 = unsafe_sub(sums[j], unsafe_mul(share, unsafe_sub(said >> 64, 1)))
                    others[j] = unsafe_add(unsafe_div(rest, left), 1)
            is_defined: bool = False
            common: uint256 = 0
            weights[i], is_defined, common = self._agree(own, others, seated)
            if not is_defined:
                strangers |= 1 << i
    return weights, strangers


@internal
@view
def _hear(seller: uint256, weights: uint256[MAX_BUYERS], strangers: uint256, period: uint256) -> uint256:
    """
    @notice The reputation of a seller: the mean of the prior and of all voices. All strangers together are one voice,
        whose weight is that of references.
    """
    mass: uint256 = RULES.strength
    total: uint256 = RULES.strength * RULES.prior
    foreign_positives: uint256 = 0
    foreign_events: uint256 = 0
    for i: uint256 in range(self.buyers_seated, bound=MAX_BUYERS):
        is_stranger: bool = (strangers >> i) & 1 == 1
        if weights[i] == 0 and not is_stranger:
            continue
        positives: uint256 = 0
        events: uint256 = 0
        positives, events = self._count(self.buyers[i] & MAX_HANDLE, seller, period)
        if is_stranger:
            foreign_positives += positives
            foreign_events += events
        elif events > 0:
            share: uint256 = weights[i] * self._evidence(events) // MILLION
            mass += share
            total += share * (positives * MILLION // events)
    if foreign_events > 0:
        share: uint256 = RULES.referenced * self._evidence(foreign_events) // MILLION
        mass += share
        total += share * (foreign_positives * MILLION // foreign_events)
    return total // mass if mass > 0 else RULES.prior


# ---- views ------------------------------------------------------------------------------------------------------

@external
@view
def rules() -> Rules:
    return RULES


@external
@view
def seated() -> (DynArray[uint256, MAX_BUYERS], DynArray[uint256, MAX_SELLERS]):
    """
    @notice Handles of the buyers and sellers that are looked at where all have to be, by seat.
    """
    buyers: DynArray[uint256, MAX_BUYERS] = []
    sellers: DynArray[uint256, MAX_SELLERS] = []
    for i: uint256 in range(self.buyers_seated, bound=MAX_BUYERS):
        buyers.append(self.buyers[i] & MAX_HANDLE)
    for j: uint256 in range(self.sellers_seated, bound=MAX_SELLERS):
        sellers.append(self.sellers[j] & MAX_HANDLE)
    return buyers, sellers


@external
@view
def counts(buyer: uint256, seller: uint256, at: uint256) -> (uint256, uint256):
    """
    @notice Positive and all events of a buyer with a seller in the window.
    """
    return self._count(buyer, seller, self._period(at))


@external
@view
def direct(buyer: uint256, seller: uint256, at: uint256) -> (uint256, bool):
    """
    @notice D: positive of all events; whether there are any.
    """
    positives: uint256 = 0
    events: uint256 = 0
    positives, events = self._count(buyer, seller, self._period(at))
    return positives * MILLION // max(events, 1), events > 0


@external
@view
def trust(buyer: uint256, other: uint256, at: uint256) -> (uint256, bool, uint256):
    """
    @notice Trust of a buyer in another one; whether it is a friend at all, or a stranger; sellers that both rated.
    """
    period: uint256 = self._period(at)
    return self._agree(self._row(buyer, period), self._row(other, period), self.sellers_seated)


@external
@view
def integrated(buyer: uint256, seller: uint256, at: uint256) -> (uint256, bool):
    """
    @notice r: what a buyer makes of a seller by all that it knows; the prior where it knows nothing, and whether.
    """
    return self._integrate(buyer, seller, self._period(at))


@external
@view
def uploaded(buyer: uint256, seller: uint256, at: uint256) -> (uint256, bool):
    """
    @notice What others take from a buyer about a seller: its direct value, or (as written) its last integrated one.
    """
    positives: uint256 = 0
    events: uint256 = 0
    positives, events = self._count(buyer, seller, self._period(at))
    if events > 0 and RULES.mode == AS_WRITTEN:
        return self.uploads[buyer][seller], True
    return positives * MILLION // max(events, 1), events > 0


@external
@view
def voices(at: uint256) -> (DynArray[uint256, MAX_BUYERS], uint256):
    """
    @notice What each seated buyer weighs in market-wide reputations, by seat (0 for strangers), and the strangers' bits.
    """
    weights: uint256[MAX_BUYERS] = empty(uint256[MAX_BUYERS])
    strangers: uint256 = 0
    weights, strangers = self._weigh(self._period(at))
    result: DynArray[uint256, MAX_BUYERS] = []
    for i: uint256 in range(self.buyers_seated, bound=MAX_BUYERS):
        result.append(weights[i])
    return result, strangers


@external
@view
def reputations(sellers: DynArray[uint256, MAX_SELLERS], at: uint256) -> DynArray[uint256, MAX_SELLERS]:
    """
    @notice Market-wide reputations, in the order asked.
    """
    period: uint256 = self._period(at)
    result: DynArray[uint256, MAX_SELLERS] = []
    if RULES.mode == AS_WRITTEN:
        for seller: uint256 in sellers:
            result.append(self._median_upload(seller, period))
        return result
    weights: uint256[MAX_BUYERS] = empty(uint256[MAX_BUYERS])
    strangers: uint256 = 0
    weights, strangers = self._weigh(period)
    for seller: uint256 in sellers:
        result.append(self._hear(seller, weights, strangers, period))
    return result
