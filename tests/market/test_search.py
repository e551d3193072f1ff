"""Search: filters, and the order in which what fits is shown."""

from hypothesis import given
from hypothesis import strategies as st

from platoon.market.search import Offer, Wanted, compare_domains, fits, search
from platoon.nouns import Address, Digest, Instant, Tokens
from platoon.records.listings import Description, Listing


def make_listing(task="traffic signs", *, labels=("stop",), price=5, size=10, exclusive=False, domain=()):
    said = Description(
        task=task,
        labels=labels,
        accuracy=1,
        architecture="mlp",
        inputs=(),
        parameters=1,
        tensors=Digest(bytes(32)),
        usage="",
        requirement="",
        place=None,
        domain=domain,
    )
    return Listing(
        owner=Address(bytes(20)),
        model=Digest(bytes(32)),
        size=size,
        price=Tokens(price),
        threshold=0,
        exclusive=exclusive,
        at=Instant(0),
        description=said,
    )


offers = st.lists(
    st.builds(
        lambda price, size, domain, reputation, metres, labels: (
            price,
            size,
            domain,
            reputation,
            metres,
            labels,
        ),
        st.integers(0, 9),
        st.integers(1, 9),
        st.sampled_from([(), (1, 2), (5, 5)]),
        st.integers(0, 9),
        st.none() | st.floats(0, 9),
        st.sampled_from([("stop",), ("stop", "yield")]),
    ),
    max_size=8,
).map(
    lambda rows: [
        Offer(
            number=i + 1,
            listing=make_listing(price=p, size=s, domain=d, labels=names),
            reputation=r,
            metres=m,
        )
        for i, (p, s, d, r, m, names) in enumerate(rows)
    ]
)


@given(offers, st.integers(0, 9), st.integers(0, 9), st.sampled_from([(), (1, 2)]))
def test_all_that_fits_is_found_once_and_in_order(given_offers, most_price, least_reputation, domain):
    wanted = Wanted(
        labels=("yield",), most_price=most_price, least_reputation=least_reputation, domain=domain
    )
    found = search(given_offers, wanted)
    assert {item.number for item in found} == {o.number for o in given_offers if fits(o, wanted)}
    for item in found:
        assert item.listing.price <= most_price
        assert item.reputation >= least_reputation
        assert "yield" in item.listing.description.labels
    far = float("inf")
    keys = [
        (
            far if item.domain_distance is None else item.domain_distance,
            far if item.metres is None else item.metres,
            -item.reputation,
        )
        for item in found
    ]
    assert keys == sorted(keys)
    assert found == search(given_offers[::-1], wanted)


def test_words_in_any_order_and_case():
    offer = Offer(number=1, listing=make_listing("Traffic Signs at Night"), reputation=0)
    assert fits(offer, Wanted(task="night SIGNS"))
    assert not fits(offer, Wanted(task="day"))


def test_what_a_listing_does_not_tell_excludes_it_not():
    offer = Offer(number=1, listing=make_listing(), reputation=0, metres=None)
    assert fits(offer, Wanted(most_metres=1.0))
    assert not fits(
        Offer(number=1, listing=make_listing(), reputation=0, metres=2.0), Wanted(most_metres=1.0)
    )


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=9))
def test_a_domain_is_nothing_apart_from_itself(sketch):
    assert compare_domains(sketch, sketch) == 0
    assert compare_domains(sketch, [*sketch, 0]) is None
    assert compare_domains((), sketch) is None
