"""Boosts of an affine maximiser as a function of the models' reputations: a small set network in pure integers.

Who runs an auction computes the table of boosts from the registered parameters and the reputations that stood
before the first bid. Every node must get the same table to the bit, so nothing here is a float: weights, biases and
activations are integers in units of 2^-20, products are shifted back with rounding towards minus infinity, the
activation is max(0, x), and sums stay below 2^62 (a network for which they might not is refused).

The network is a sum over a set (Zaheer et al. 2017): every model's reputation is embedded by the same two layers,
e_j; a bundle is what its members' embeddings sum up to, beside the sum over all models that are offered,

    beta(S), gamma(U) = head([sum_{j in S} e_j, sum_j e_j]),

so that one network serves any number of models, and reordering the models reorders the table. Buyers do not enter:
the executor is what their number matters to. On top of gamma come reserves, sum_{j in U} (constant + slope r_j):
a network of zeros is item-wise Myerson with that reserve.
"""

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np

from platoon.errors import UserError
from platoon.market.auction.tables import MOST_MODELS, BoostTable
from platoon.nouns import MILLION, Digest, FixedPoint, Ints
from platoon.records.encoding import encode_number, encode_rlp, keccak

BITS: Final = 20
ONE: Final = 1 << BITS
"""1.0 as a weight, a bias or an activation."""
_WORD: Final = np.dtype(">i4")
_LAYERS: Final = ("embed_1", "embed_2", "head_1", "head_2")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BoostNetwork:
    """Parameters as they are registered: int32 matrices (outputs, inputs + 1), the bias in the last column.

    Raises ``UserError`` for shapes that do not fit together, or sums that could overflow.
    """

    reserve: int
    """What every unsold model adds to gamma whatever its reputation, 10^-6."""
    reserve_slope: int
    """What an unsold model of reputation 1.0 adds on top, in proportion to its reputation, 10^-6."""
    embed_1: FixedPoint
    """(a, 2) from a reputation."""
    embed_2: FixedPoint
    """(b, a + 1)"""
    head_1: FixedPoint
    """(c, 2 b + 1) from a bundle's sum and the sum of all models."""
    head_2: FixedPoint
    """(2, c + 1) to beta and gamma, without an activation."""

    def __post_init__(self) -> None:
        inputs = 1
        for name in _LAYERS:
            layer = getattr(self, name)
            if layer.ndim != 2 or layer.shape[1] != inputs + 1 or layer.shape[0] == 0:
                raise UserError(f"boosts: {name} has shape {layer.shape}; allowed: (outputs, {inputs + 1})")
            inputs = layer.shape[0] * (2 if name == "embed_2" else 1)
        if self.head_2.shape[0] != 2:
            raise UserError(f"boosts: head_2 has {self.head_2.shape[0]} outputs; allowed: 2")
        _require_bounded(self)

    @property
    def parameters(self) -> int:
        """How many weights and biases there are."""
        return sum(getattr(self, name).size for name in _LAYERS)


def encode_network(network: BoostNetwork) -> bytes:
    """The canonical bytes: RLP of a tag, the reserves, and for each layer its height and its int32, big-endian."""
    parts = [b"platoon boosts 1", encode_number(network.reserve), encode_number(network.reserve_slope)]
    for name in _LAYERS:
        layer = getattr(network, name)
        parts += [encode_number(len(layer)), layer.astype(_WORD).tobytes()]
    return encode_rlp(parts)


def compute_network_digest(network: BoostNetwork) -> Digest:
    """Keccak-256 of the canonical bytes: what is registered on the chain."""
    return keccak(encode_network(network))


def export_table(network: BoostNetwork, reputations: tuple[int, ...] | Ints) -> BoostTable:
    """The table of one auction, from the reputations (m,) in ppm of the models that it offers."""
    bundle, unsold = export_tables(network, np.asarray(reputations, dtype=np.int64)[None])
    return BoostTable(bundle=tuple(bundle[0].tolist()), unsold=tuple(unsold[0].tolist()))


def export_tables(network: BoostNetwork, reputations: Ints) -> tuple[Ints, Ints]:
    """The same for many auctions at once: beta and gamma (P, 2^m) in 10^-6 from reputations (P, m) in ppm.

    Entry 0 of both is 0.

    Raises:
        UserError: no models, more than 10, or a reputation outside [0, 10^6].
    """
    models = reputations.shape[1]
    if not 1 <= models <= MOST_MODELS:
        raise UserError(f"{models} models in an auction; allowed: 1 to {MOST_MODELS}")
    if reputations.min() < 0 or reputations.max() > MILLION:
        raise UserError(
            f"reputations are {reputations.min()} to {reputations.max()}; allowed: 0 to {MILLION}"
        )
    inside = (np.arange(1 << models)[:, None] >> np.arange(models)) & 1
    embedded = _layer(network.embed_1, reputations[:, :, None] * ONE // MILLION, rectified=True)
    embedded = _layer(network.embed_2, embedded, rectified=True)
    sums = np.einsum("sm,pme->pse", inside, embedded)
    everything = np.broadcast_to(sums[:, -1:], sums.shape)
    hidden = _layer(network.head_1, np.concatenate([sums, everything], axis=2), rectified=True)
    outputs = _layer(network.head_2, hidden, rectified=False) * MILLION >> BITS
    reserves = network.reserve + reputations * network.reserve_slope // MILLION
    beta = outputs[:, :, 0].copy()
    beta[:, 0] = 0
    gamma = outputs[:, :, 1] - outputs[:, :1, 1] + reserves @ inside.T
    return beta, gamma


def to_record(network: BoostNetwork) -> dict[str, Any]:
    """The network as a JSON object, its digest included."""
    return {
        "format": 1,
        "digest": compute_network_digest(network).hex(),
        "reserve": network.reserve,
        "reserve_slope": network.reserve_slope,
        **{name: getattr(network, name).tolist() for name in _LAYERS},
    }


def from_record(record: dict[str, Any], where: str) -> BoostNetwork:
    """The network of a JSON object; ``where`` names its file in errors.

    Raises:
        UserError: keys that are missing, values that are no integers of 32 bits, or another digest.
    """
    try:
        if record["format"] != 1:
            raise UserError(f"{where}: format = {record['format']!r}; allowed: 1")
        layers = {name: np.array(record[name], dtype=np.int32) for name in _LAYERS}
        network = BoostNetwork(
            reserve=int(record["reserve"]), reserve_slope=int(record["reserve_slope"]), **layers
        )
        digest = str(record["digest"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{where}: no boosts ({type(error).__name__}: {error})") from error
    if compute_network_digest(network).hex() != digest:
        raise UserError(f"{where}: digest = {digest}: the parameters have another one")
    return network


def _layer(layer: FixedPoint, inputs: Ints, *, rectified: bool) -> Ints:
    """(..., outputs) of one layer on (..., inputs), units of 2^-20 throughout."""
    wide = layer.astype(np.int64)
    outputs = (inputs @ wide[:, :-1].T >> BITS) + wide[:, -1]
    return np.maximum(outputs, 0) if rectified else outputs


def _require_bounded(network: BoostNetwork) -> None:
    """Refuse weights with which a sum over the most models could leave 62 bits. Bounds are Python integers."""
    bound = ONE
    for name in _LAYERS:
        rows = [[abs(weight) for weight in row] for row in getattr(network, name).tolist()]
        sums = max(sum(row[:-1]) for row in rows) * bound
        if sums >= 1 << 62:
            raise UserError(f"boosts: weights of {name} are so large that sums could overflow")
        bound = (sums >> BITS) + max(row[-1] for row in rows) + 1
        bound *= MOST_MODELS if name == "embed_2" else 1
    if bound * MILLION >= 1 << 62:
        raise UserError("boosts: weights of head_2 are so large that boosts could overflow")
    for name in [field.name for field in fields(network) if field.name.startswith("reserve")]:
        if not 0 <= getattr(network, name) < 1 << 40:
            raise UserError(f"boosts: {name} = {getattr(network, name)}; allowed: 0 to 2^40 - 1")
