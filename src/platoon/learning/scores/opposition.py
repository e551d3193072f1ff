"""Who pushes against what the others do together.

Whatever an attacker wants that works against the model works against the honest updates, and shows there: honest
updates of other classes and other images have little in common, but do not cancel each other. To first order an
attacker's damage is what it pushes against the others, so who keeps below this limit gives up some of it; not all,
as ``docs/trust.md`` shows.

The others are heard as far as they are clear themselves (their *belief*, ``forensic``), and those that say the same
as one: attackers who push together must not look like a majority which the honest oppose. Nobody is asked about an
update like its own, so that those who push together do not vouch for each other; that is a matter of the two alone,
so that nobody can join the pushers with the honest by updates that are like both.
"""

from typing import Final

import numpy as np

from platoon.nouns import Bools, Floats, Ints

ALIKE: Final = 0.4
"""Cosine from which on two updates say the same; heard as one are those too that a chain of such pairs joins."""
HEARD: Final = 0.1
"""Belief from which on an update joins others."""


def agree_with_others(cosines: Floats, beliefs: Floats) -> Floats:
    """(K,) cosine of each update with the sum of what those say who do not say the same, in [-1, 1]; less where
    they are together not believed as much as one who is believed entirely, 0 where nobody is.

    Args:
        cosines: (K, K) of the updates with each other; the diagonal is not looked at.
        beliefs: (K,) in [0, 1], how far each update is heard.
    """
    count = len(beliefs)
    table = cosines.copy()
    np.fill_diagonal(table, 1.0)
    alike = table >= ALIKE
    joining = beliefs >= HEARD
    groups = _join((alike & joining & joining[:, None]) | np.eye(count, dtype=bool))
    # what a group says: the sum of its unit updates by belief, scaled to the belief in it on average
    shares = np.where(groups[:, None] == np.arange(count), beliefs[:, None], 0.0)
    lengths = np.sqrt(np.maximum(np.einsum("kg,kl,lg->g", shares, table, shares), 0.0))
    sums = shares.sum(axis=0)
    trusted = np.divide((shares**2).sum(axis=0), sums, out=np.zeros(count), where=sums > 0.0)
    scales = np.divide(trusted, lengths, out=np.zeros(count), where=lengths > 0.0)
    # (K, K): how each of K enters, by who is judged; and the groups of which somebody does
    heard = np.where(alike, 0.0, (shares * scales).sum(axis=1)[:, None])
    asked = (shares > 0.0).T @ ~alike
    credit = np.minimum(1.0, trusted @ asked)
    dots = np.einsum("kl,lk->k", table, heard)
    norms = np.sqrt(np.maximum(np.einsum("kj,kl,lj->j", heard, table, heard), 0.0))
    dots = np.divide(dots, norms, out=np.zeros(count), where=norms > 1e-9)
    agreement: Floats = np.clip(dots, -1.0, 1.0) * credit
    return agreement


def _join(near: Bools) -> Ints:
    """(K,) the number of each row's group: the least row that a chain of near pairs joins it with."""
    groups: Ints = np.arange(len(near))
    for _ in range(len(near)):
        least = np.where(near, groups, len(near)).min(axis=1)
        if (least == groups).all():
            break
        groups = least
    return groups
