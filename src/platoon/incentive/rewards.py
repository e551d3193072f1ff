"""What a vehicle is paid for its update: DTB-FL eq. 15 (a pool, the default) and eq. 6 (base and bonus).

Pure integer functions, tokens in 10^-6. The formulas themselves live in ``platoon.records.rules``, below the ledger
and below this package, because contract, auditor and incentive must mean the same numbers; here are the names under
which they are studied, and what a task must hold ready for them.

With share_i = rho_i |D_i| / sum_j rho_j |D_j|, reputations from before the round:

- pool (eq. 15): R_i = R_total * share_i
- base and bonus (eq. 6): R_i = R_base + R_bonus * share_i

The sum runs over the merged updates; as written (rule ``AS_WRITTEN``) over all recorded ones, so that the share of
those that are not paid stays in escrow. Floors stay in escrow too. An escrow that is short pays everybody less.
"""

from platoon.nouns import Tokens
from platoon.records.rules import Payment, Rules, compute_rewards

__all__ = ["compute_rewards", "compute_round_price"]


def compute_round_price(rules: Rules, updates: int) -> Tokens:
    """The most that a round with so many merged updates can cost.

    >>> compute_round_price(Rules(pool=10_000_000), 10)
    10000000
    >>> compute_round_price(Rules(payment=Payment.BASE_BONUS, base=200_000, bonus=5_000_000), 10)
    7000000
    """
    if updates == 0:
        return Tokens(0)
    return Tokens(rules.pool if rules.payment is Payment.POOL else rules.base * updates + rules.bonus)
