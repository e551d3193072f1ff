"""Holding a market's folder against its ledger: seals, models in custody, and every auction played again.

The replay executes every transaction and refuses any changed byte. Beyond it: a model must be the one that its
listing names, the table of an auction must be what its registered network makes of the frozen reputations, and its
award what the Python twin of the contract decides.
"""

import json
from pathlib import Path
from typing import Any

from platoon.drivers.market.checks import make_table, require_listed
from platoon.drivers.market.desk import MODEL, Desk
from platoon.drivers.market.folder import MarketFolder
from platoon.errors import UserError, VerificationError
from platoon.ledger.market_chain import verify_market
from platoon.ledger.market_state import Auction, AuctionState
from platoon.market.auction.boosts import compute_network_digest, from_record
from platoon.market.auction.executor import execute, spread_additive
from platoon.market.auction.tables import BoostTable
from platoon.records.encoding import EMPTY_DIGEST


def verify_folder(path: Path) -> dict[str, Any]:
    """What was checked: blocks, models, auctions, the head.

    Raises:
        VerificationError: the first thing that does not match.
        UserError: no market.
    """
    folder = MarketFolder.open(path)
    try:
        chain = verify_market(folder.ledger)
        try:
            desk = Desk(folder, chain, folder.read_clock)
            for entry in chain.state.listings.values():
                _check_model(desk, entry.number)
            for auction in chain.state.auctions.values():
                _check_auction(desk, auction)
            return {
                "verified": True,
                "blocks": chain.ledger.height,
                "models": len(chain.state.listings),
                "auctions": len(chain.state.auctions),
                "head": chain.ledger.head.hex(),
            }
        finally:
            chain.close()
    finally:
        folder.release()


def _check_model(desk: Desk, number: int) -> None:
    entry = desk.find_listing(number)
    if not entry.readable:
        return  # an edge server brought words that are no document: never offered, never in custody
    content = desk.folder.fetch("custody", entry.listing.model, MODEL)
    try:
        require_listed(content, entry.listing)
    except UserError as error:
        raise VerificationError(f"listing {number}: {error}") from None


def _check_auction(desk: Desk, auction: Auction) -> None:
    where = f"auction {auction.number}"
    if auction.state is AuctionState.PROPOSED:
        return  # whatever one edge server proposed, no majority stood by it
    table = BoostTable(bundle=auction.bundle, unsold=auction.unsold)
    if table != _make_again(desk, auction):
        raise VerificationError(f"{where}: its table is not what its network makes of the frozen reputations")
    if auction.state is not AuctionState.SETTLED:
        return
    models = table.models
    bids = []
    for bid in auction.bids:
        amounts = bid.amounts if bid.amounts is not None else (0,) * models
        bids.append(spread_additive(amounts) if len(amounts) == models else amounts)
    award = execute(bids, table)
    if award.bundles != auction.bundles or award.payments != auction.payments:
        raise VerificationError(f"{where}: its award is not that of the bids")


def _make_again(desk: Desk, auction: Auction) -> BoostTable:
    network = None
    if auction.network != EMPTY_DIGEST:
        name = f"{auction.network.hex()}.json"
        try:
            network = from_record(json.loads(desk.folder.get("networks", name)), name)
        except (UserError, ValueError) as error:
            raise VerificationError(f"networks/{name}: {error}") from None
        if compute_network_digest(network) != auction.network:
            raise VerificationError(f"networks/{name}: these are other parameters")
    asks = [desk.find_listing(number).listing.price for number in auction.listings]
    try:
        return make_table(network, auction.reputations, auction.scale, asks)
    except ValueError as error:
        raise VerificationError(f"auction {auction.number}: {error}") from None
