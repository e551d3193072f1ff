"""Laws of opinions: liars, mirrors, second identities, spam, a lucky newcomer; and what Kang's fusion keeps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.market.opinions.lying import LyingMarket, draw_ratings
from platoon.market.opinions.simple import pool_events, take_median
from platoon.market.opinions.subjective import (
    Experience,
    SubjectiveOpinion,
    SubjectiveRules,
    average,
    compute_reputations,
    form_opinion,
    fuse,
)
from platoon.nouns import MILLION, Duration, Instant
from platoon.records.opinions import Mode, OpinionRules, Opinions, TrustRule, compare

RULES = OpinionRules()
NOW = Instant(10_000)
HALF = MILLION // 2


def fold(ratings, rules=RULES, referees=()):
    opinions = Opinions(rules=rules)
    for referee in referees:
        opinions.appoint(referee)
    for buyer, seller, positive in ratings:
        opinions.record(buyer, seller, NOW, positive)
    return opinions


def trade(buyers, sellers, good, times=3):
    """Every buyer rates every seller: good ones are mostly good, the others mostly bad."""
    return [
        (buyer, seller, (seller in good) == ((buyer + seller + n) % 4 > 0))
        for buyer in buyers
        for seller in sellers
        for n in range(times)
    ]


def find_right(market, runs, referees):
    """Mean share of sellers on the right side of .5, each market with so many honest referees."""
    shares = []
    for seed in range(runs):
        rated = draw_ratings(market, seed)
        opinions = Opinions(
            rules=RULES, referees={int(i) + 1 for i in np.flatnonzero(~rated.lies)[:referees]}
        )
        for rating in rated.ratings:
            opinions.record(*rating)
        said = np.array(opinions.reputations(rated.sellers, opinions.latest))
        shares.append(np.where(rated.quality > 0.5, said > MILLION // 2, said < MILLION // 2).mean())
    return np.array(shares)


# ---- liars ------------------------------------------------------------------------------------------------------


def test_with_a_referee_half_of_the_raters_may_lie():
    assert find_right(LyingMarket(liars=0.5), 40, referees=1).mean() >= 0.94


def test_without_a_referee_two_in_five_may_lie():
    assert find_right(LyingMarket(liars=0.4), 40, referees=0).mean() >= 0.94


def test_those_who_only_deny_have_no_weight_even_if_they_are_half():
    assert find_right(LyingMarket(liars=0.5, lie="deny"), 40, referees=0).mean() >= 0.94


def test_without_a_referee_half_that_lie_consistently_win_or_lose_altogether():
    shares = find_right(LyingMarket(liars=0.5), 40, referees=0)
    assert np.mean((shares < 0.2) | (shares > 0.8)) > 0.7
    assert shares.min() < 0.2
    assert shares.max() > 0.8


@given(
    ratings=st.lists(
        st.tuples(st.integers(1, 6), st.integers(10, 15), st.booleans()), min_size=1, max_size=80
    ),
    mode=st.sampled_from(Mode),
)
def test_a_mirrored_market_has_mirrored_reputations(ratings, mode):
    # the proof that no rule of this kind can tell which half lies: it treats a rating and its opposite alike
    rules = OpinionRules(mode=mode)
    mirrored = [(buyer, seller, not positive) for buyer, seller, positive in ratings]
    sellers = list(range(10, 16))
    one, other = (fold(told, rules).reputations(sellers, NOW) for told in (ratings, mirrored))
    if mode is Mode.SHARED_DIRECT:
        assert np.abs(np.array(one) + np.array(other) - MILLION).max() <= 5_000
    else:  # lower medians are mirrored into upper ones
        assert all(a + b <= MILLION + 10 for a, b in zip(one, other, strict=True))


# ---- who games it -----------------------------------------------------------------------------------------------

HONEST, SELLERS, GOOD = range(1, 11), range(20, 32), set(range(20, 26))
BAD_ONE = 31


def test_a_second_identity_that_rates_only_its_own_models_is_one_stranger():
    ratings = trade(HONEST, SELLERS, GOOD)
    before = fold(ratings).reputations([BAD_ONE], NOW)[0]
    for identities in (1, 10, 40):
        own = [(100 + i, BAD_ONE, True) for i in range(identities) for _ in range(20)]
        opinions = fold(ratings + own)
        after = opinions.reputations([BAD_ONE], NOW)[0]
        assert opinions.voices(NOW).strangers == {100 + i for i in range(identities)}
        # 40 identities, 800 trades with itself: still one voice of weight .2 among ten
        assert before < after < before + 30_000 < HALF


def test_without_that_800_trades_with_itself_would_have_made_the_reputation():
    ratings = trade(HONEST, SELLERS, GOOD) + [(100 + i, BAD_ONE, True) for i in range(40) for _ in range(20)]
    positive, all_ = np.zeros((40 + 10, 1), dtype=int), np.zeros((40 + 10, 1), dtype=int)
    for buyer, seller, told in ratings:
        if seller == BAD_ONE:
            row = buyer - 1 if buyer < 100 else buyer - 90
            positive[row] += told
            all_[row] += 1
    assert pool_events(positive.tolist(), all_.tolist(), HALF)[0] > 900_000
    assert take_median(positive.tolist(), all_.tolist(), HALF)[0] > 900_000


def test_many_ratings_of_one_buyer_are_one_voice():
    ratings = trade(HONEST, SELLERS, GOOD)
    before = fold(ratings).reputations([BAD_ONE], NOW)[0]
    # its honest ratings elsewhere give it trust; a thousand of one seller give it no more than one voice
    spam = trade([50], SELLERS, GOOD) + [(50, BAD_ONE, True)] * 1000
    after = fold(ratings + spam).reputations([BAD_ONE], NOW)[0]
    assert before < after < before + MILLION // 11


def test_one_good_rating_moves_a_newcomer_a_little():
    ratings = trade(HONEST, SELLERS, GOOD)
    by_friend = fold([*ratings, (1, 99, True)]).reputations([98, 99], NOW)
    assert by_friend[0] == RULES.prior
    # one event of one trusted buyer weighs at most half a voice beside the prior's whole one
    assert RULES.prior < by_friend[1] <= (RULES.prior * 2 + MILLION) // 3
    by_stranger = fold([*ratings, (77, 99, True)]).reputations([99], NOW)[0]
    assert RULES.prior < by_stranger < by_friend[1]


def test_a_market_that_begins_believes_little():
    assert fold([(1, 20, True), (2, 20, True)]).reputations([20, 21], NOW) == [558_823, 500_000]


# ---- direct, recommended, referenced ----------------------------------------------------------------------------

MIXED = [(1, 20, True), (1, 21, False), (1, 22, True), (1, 22, False)]


def test_the_terms_that_are_defined_share_the_weight():
    friend = [(2, 20, True), (2, 21, False), (2, 22, True), (2, 23, True)]
    stranger = [(3, 23, False)]
    assert fold(MIXED).integrated(1, 22, NOW) == (500_000, True)  # own alone
    assert fold(MIXED).integrated(1, 23, NOW) == (RULES.prior, False)
    assert fold(MIXED + friend).integrated(1, 23, NOW) == (MILLION, True)  # the friend's alone
    assert fold(MIXED + friend + stranger).integrated(1, 23, NOW) == (600_000, True)  # .3 of 1, .2 of 0
    assert fold(MIXED + friend + stranger).integrated(1, 22, NOW) == (687_500, True)  # .5 of .5, .3 of 1


def test_one_whose_values_run_against_ones_own_is_a_friend_without_trust():
    liar = [(2, 20, False), (2, 21, True), (2, 22, True), (2, 22, False), (2, 23, False)]
    opinions = fold(MIXED + liar)
    assert opinions.trust(1, 2, NOW) == (0, True, 3)
    assert opinions.integrated(1, 23, NOW) == (RULES.prior, False)
    equal = fold(MIXED + liar, OpinionRules(trust=TrustRule.EQUAL))
    assert equal.integrated(1, 23, NOW) == (0, True)


def test_as_written_an_opinion_comes_back_to_who_had_it():
    # buyer 1 found seller 23 bad; 2 has only heard so from it, and says so louder than it found itself
    shared = [*MIXED, (1, 23, False), (2, 20, True), (2, 21, False), (2, 22, True), (2, 23, True)]
    direct, written = (fold(shared, OpinionRules(mode=mode)) for mode in Mode)
    assert direct.uploaded(2, 23, NOW) == (MILLION, True)
    assert written.uploaded(2, 23, NOW) == (625_000, True)  # .5 of 1, .3 of what buyer 1 said
    assert written.integrated(1, 23, NOW)[0] < direct.integrated(1, 23, NOW)[0]


@given(
    ratings=st.lists(
        st.tuples(st.integers(1, 5), st.integers(10, 14), st.booleans()), min_size=1, max_size=60
    ),
    seed=st.integers(0, 100),
    referees=st.sets(st.integers(1, 5), max_size=2),
)
def test_reputations_do_not_depend_on_the_order_of_ratings(ratings, seed, referees):
    shuffled = [ratings[i] for i in np.random.default_rng(seed).permutation(len(ratings))]
    one, other = fold(ratings, referees=referees), fold(shuffled, referees=referees)
    sellers = list(range(10, 15))
    assert one.reputations(sellers, NOW) == other.reputations(sellers, NOW)
    assert one.voices(NOW) == other.voices(NOW)
    assert one.integrated(1, 10, NOW) == other.integrated(1, 10, NOW)


@given(
    ratings=st.lists(
        st.tuples(st.integers(1, 5), st.integers(10, 14), st.booleans()), min_size=1, max_size=60
    ),
    rules=st.builds(OpinionRules, mode=st.sampled_from(Mode), trust=st.sampled_from(TrustRule)),
    seller=st.integers(10, 14),
)
def test_values_are_shares_and_a_good_rating_of_ones_own_never_lowers_ones_direct_value(
    ratings, rules, seller
):
    opinions = fold(ratings, rules)
    values = [opinions.integrated(i, j, NOW)[0] for i in range(1, 6) for j in range(10, 15)]
    assert all(0 <= value <= MILLION for value in [*values, *opinions.reputations(range(10, 15), NOW)])
    before = opinions.direct(1, seller, NOW)[0]
    opinions.record(1, seller, NOW, True)
    assert opinions.direct(1, seller, NOW)[0] >= before


def test_after_the_window_nothing_is_left():
    rules = OpinionRules(period=Duration(100), periods=3)
    opinions = Opinions(rules=rules)
    for buyer, seller, positive in trade(HONEST, SELLERS, GOOD):
        opinions.record(buyer, seller, Instant(250), positive)
    assert min(opinions.reputations(SELLERS, Instant(499))) < HALF
    assert set(opinions.reputations(SELLERS, Instant(500))) == {rules.prior}
    assert opinions.voices(Instant(500)).weights == {}
    assert opinions.integrated(1, 20, Instant(500)) == (rules.prior, False)


rows = st.dictionaries(st.integers(0, 8), st.integers(0, MILLION), max_size=9)


@given(own=rows, others=rows)
def test_agreement_is_the_correlation(own, others):
    said = compare(own, others, RULES)
    assert said == compare(others, own, RULES)
    common = sorted(own.keys() & others.keys())
    x, y = ([row[j] for j in common] for row in (own, others))
    assert said.common == len(common)
    assert said.is_friend == (len(common) >= 3 and min(np.std(x), np.std(y)) >= 1000)
    if said.is_friend:
        assert said.trust / MILLION == pytest.approx(max(np.corrcoef(x, y)[0, 1], 0), abs=1e-5)


# ---- Kang's subjective logic ------------------------------------------------------------------------------------

opinions_ = st.integers(1, MILLION).flatmap(
    lambda u: st.integers(0, MILLION - u).map(lambda b: SubjectiveOpinion(b, MILLION - u - b, u))
)


@given(one=opinions_, other=opinions_)
def test_fusion_is_commutative_less_uncertain_and_keeps_the_whole(one, other):
    fused = fuse(one, other)
    assert fused == fuse(other, one)
    assert MILLION - 3 <= sum(fused) <= MILLION
    assert fused.uncertainty <= min(one.uncertainty, other.uncertainty)


@given(one=opinions_, weight=st.integers(1, MILLION))
def test_an_average_of_one_opinion_is_that_opinion(one, weight):
    assert average([(weight, one), (0, SubjectiveOpinion(0, 0, MILLION))]) == one


def test_subjective_reputations_by_hand():
    nothing = [[0, 0], [0, 0]]
    experience = Experience(
        positive_recent=[[1, 0], [0, 2]],
        negative_recent=[[0, 0], [1, 0]],
        positive_past=nothing,
        negative_past=[[1, 0], [0, 0]],
    )
    # good .4 x .6 x 1, bad .6 x .4 x 1: a recent good event weighs as much as a past bad one
    assert form_opinion(experience, 0, 0, SubjectiveRules()) == (450_000, 450_000, 100_000)
    assert form_opinion(experience, 0, 1, SubjectiveRules()) is None
    said = compute_reputations(experience, 0, SubjectiveRules(), RULES)
    assert said[1] == 900_000 + 50_000  # of what the stranger says alone
    # fused with the stranger's belief 0: .45 x .1 / .19, and half of the uncertainty .01 / .19
    assert said[0] == pytest.approx(236_842 + 26_315, abs=2)
    silent = Experience(
        positive_recent=nothing, negative_recent=nothing, positive_past=nothing, negative_past=nothing
    )
    assert compute_reputations(silent, 0, SubjectiveRules(), RULES) == [HALF, HALF]


def test_invalid_parameters_of_comparisons():
    with pytest.raises(ValueError, match="arrived"):
        SubjectiveRules(arrived=MILLION)
    with pytest.raises(ValueError, match="positive"):
        SubjectiveRules(positive=-1)
    with pytest.raises(ValueError, match="lie"):
        LyingMarket(lie="praise")


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), liars=st.sampled_from([0.0, 0.2, 0.5]))
def test_liars_buy_what_they_would_buy_anyway_and_only_they_turn_what_they_found(seed, liars):
    honest = draw_ratings(LyingMarket(liars=0.0), seed)
    lying = draw_ratings(LyingMarket(liars=liars), seed)
    assert lying.lies.sum() == round(liars * 20)
    for one, other in zip(honest.ratings, lying.ratings, strict=True):
        assert one[:3] == other[:3]
        assert (one.positive != other.positive) == bool(lying.lies[one.buyer - 1])
