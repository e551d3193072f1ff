"""The deeds of a market: everything that an operator, edge servers, sellers and buyers do, on one chain and folder.

Each method is one deed of one party, signed with that party's key. What a contract refuses becomes a ``UserError``
in the contract's words. In this process all parties share a folder; on a network each would have its own, and the
calls would be the same.
"""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence

from platoon.drivers.market.checks import Terms, make_table, require_listed
from platoon.drivers.market.folder import MarketFolder
from platoon.errors import UserError, VerificationError
from platoon.ledger.engine import Receipt
from platoon.ledger.market_chain import MarketChain, SignedCall, list_joining_calls
from platoon.ledger.market_state import Auction, Entry, ListingState, MarketState, Trade, TradeState
from platoon.market.auction.boosts import BoostNetwork, compute_network_digest, to_record
from platoon.market.auction.tables import MOST_LOTS, BoostTable
from platoon.market.search import Found, Offer, Wanted, search
from platoon.nouns import Digest, Duration, Instant, Tokens
from platoon.records.deliveries import KEY_BYTES, open_delivery, pack_delivery
from platoon.records.encoding import EMPTY_DIGEST, compute_content_digest
from platoon.records.listings import MAX_NUMBER, Description, Listing, sign_listing
from platoon.records.sealed_bids import compute_commitment
from platoon.records.signing import Account
from platoon.records.transactions import Call

MODEL = ".safetensors"
MOST_ASKED = 32
"""Sellers whose reputations the contract gives at once."""

Clock = Callable[[], Instant]


class Desk:
    """A market that is open."""

    def __init__(self, folder: MarketFolder, chain: MarketChain, clock: Clock) -> None:
        self.folder = folder
        self.chain = chain
        self._clock = clock

    @property
    def state(self) -> MarketState:
        """Everything that is known."""
        return self.chain.state

    def _submit(self, what: str, *calls: SignedCall) -> tuple[Receipt, ...]:
        """One block; the first call that is refused is told in the contract's words."""
        at = max(self._clock(), self.state.now)
        receipts = self.chain.submit(calls, at=Instant(at))
        for receipt in receipts:
            if not receipt.ok:
                raise UserError(f"{what}: {receipt.error}")
        return receipts

    def tick(self) -> Instant:
        """Let the edge servers say what time it is."""
        self.chain.submit((), at=Instant(max(self._clock(), self.state.now)))
        return self.state.now

    def _active(self) -> tuple[Account, ...]:
        """Edge servers that take part, by seat."""
        active = self.chain.edge_servers
        return tuple(account for account in self.folder.edge_servers if account.address in active)

    def _at_edge(self, call: Call, place: int = 0) -> SignedCall:
        """By the edge server in that place among those that take part."""
        return SignedCall(self._active()[place], call)

    # ---- who takes part -----------------------------------------------------------------------------------------

    def join(self, name: str, tokens: Tokens) -> Account:
        """Register a trader and give it tokens."""
        supply = int(self.chain.read("Token", "totalSupply")[0])
        if tokens > MAX_NUMBER - supply:
            raise UserError(f"{tokens} more of 10^-6 tokens: allowed: {MAX_NUMBER - supply}, all below 2^63")
        account = self.folder.add_trader(name)
        calls = list_joining_calls(self.chain, [account.address], tokens)
        self._submit(f"join {name}", *(SignedCall(self.folder.operator, call) for call in calls))
        return account

    def appoint(self, name: str) -> None:
        """The operator makes a buyer a referee: agreement of ratings is measured by it from now on."""
        handle = self.chain.find_handle(self.folder.find_trader(name).address)
        self._submit(
            "appoint", SignedCall(self.folder.operator, self.chain.call("Opinions", "appoint", handle))
        )

    def name_of(self, handle: int) -> str:
        """A trader's name in this folder, or its handle."""
        names = {address: name for name, address in self.folder.traders.items()}
        for address, known in self.state.accounts.items():
            if known == handle and address in names:
                return names[address]
        return f"trader {handle}"

    # ---- listing ------------------------------------------------------------------------------------------------

    def publish(self, seller: str, content: bytes, description: Description, terms: Terms) -> int:
        """List a model; an edge server holds the file against the listing before it brings it to the chain.

        Returns the listing's number.

        Raises:
            UserError: the file is not what the listing says, or a contract refuses.
        """
        account = self.folder.find_trader(seller)
        self.tick()
        listing = Listing(
            owner=account.address,
            model=compute_content_digest(content),
            size=len(content),
            price=terms.price,
            threshold=terms.threshold,
            exclusive=terms.exclusive,
            at=self.state.now,
            description=description,
        )
        signature = sign_listing(account, self.chain.separator, listing)
        require_listed(content, listing)
        self.folder.keep("custody", content, MODEL)
        self._submit("publish", self._at_edge(self.chain.publish_call(listing, signature)))
        return len(self.state.listings)

    def withdraw(self, seller: str, number: int) -> None:
        """A seller takes a listing back."""
        account = self.folder.find_trader(seller)
        self._submit("withdraw", SignedCall(account, self.chain.call("Catalogue", "withdraw", number)))

    def find_listing(self, number: int) -> Entry:
        """Raises ``UserError`` for a number of no listing."""
        if number not in self.state.listings:
            raise UserError(f"listing {number}: there is none; allowed: 1 to {len(self.state.listings)}")
        return self.state.listings[number]

    def reputations(self, sellers: Sequence[int]) -> tuple[int, ...]:
        """Of sellers by handle, as they stand now, ppm."""
        return self.chain.read_reputations(sellers, self.state.now)

    def reputations_of_all(self) -> dict[int, int]:
        """Of every trader by handle, ppm."""
        handles = sorted(self.state.accounts.values())
        known: list[int] = []
        for start in range(0, len(handles), MOST_ASKED):
            known += self.reputations(handles[start : start + MOST_ASKED])
        return dict(zip(handles, known, strict=True))

    def list_open(self) -> list[int]:
        """Numbers of listings that are for sale."""
        entries = self.state.listings.items()
        return [n for n, entry in entries if entry.state is ListingState.OPEN and entry.readable]

    def search(
        self, wanted: Wanted, metres: Mapping[int, float], reputations: Mapping[int, int] | None = None
    ) -> tuple[Found, ...]:
        """What is for sale and fits.

        Args:
            wanted: what the buyer asks for.
            metres: by listing, how far it is to where it was trained.
            reputations: of sellers by handle, as the buyer sees them; None: market-wide.
        """
        entries = [self.state.listings[number] for number in self.list_open()]
        known = self.reputations_of_all() if reputations is None else reputations
        offers = [
            Offer(
                number=entry.number,
                listing=entry.listing,
                reputation=known[entry.seller],
                metres=metres.get(entry.number),
            )
            for entry in entries
        ]
        return search(offers, wanted)

    def open_custody(self, number: int) -> bytes:
        """A listed model at the edge servers, checked against its digest; it never leaves them but sealed."""
        return self.folder.fetch("custody", self.find_listing(number).listing.model, MODEL)

    # ---- buying at a price --------------------------------------------------------------------------------------

    def buy(self, buyer: str, number: int) -> int:
        """Buy a licence that anybody may have, at its price; returns the trade's number."""
        account, entry = self.folder.find_trader(buyer), self.find_listing(number)
        price = entry.listing.price
        self._submit(
            "buy",
            self._approve(account, "Trades", price),
            SignedCall(account, self.chain.call("Trades", "buy", number, price)),
        )
        return len(self.state.trades)

    def post_menu(self, numbers: Sequence[int], prices: Sequence[int]) -> int:
        """An edge server posts what one, two, ... of these listings cost; returns the menu's number."""
        if not 1 <= len(numbers) <= MOST_LOTS or len(prices) != len(numbers):
            raise UserError(
                f"{len(numbers)} listings, {len(prices)} prices; allowed: 1 to {MOST_LOTS}, a price for each number"
            )
        call = self.chain.call("Menus", "post", list(numbers), list(prices))
        self._submit("menu", self._at_edge(call))
        return len(self.state.menus)

    def choose(self, buyer: str, menu: int, numbers: Sequence[int]) -> tuple[int, ...]:
        """Buy these listings of a menu; returns the trades' numbers."""
        if menu not in self.state.menus:
            raise UserError(f"menu {menu}: there is none; allowed: 1 to {len(self.state.menus)}")
        offered = self.state.menus[menu]
        strange = [number for number in numbers if number not in offered.listings]
        if strange or not numbers:
            raise UserError(f"listings {list(numbers)}: allowed: some of {list(offered.listings)}")
        bundle = sum(1 << offered.listings.index(number) for number in set(numbers))
        price = offered.prices[bundle.bit_count() - 1]
        account, before = self.folder.find_trader(buyer), len(self.state.trades)
        self._submit(
            "choose",
            self._approve(account, "Menus", price),
            SignedCall(account, self.chain.call("Menus", "choose", menu, bundle, price)),
        )
        return tuple(range(before + 1, len(self.state.trades) + 1))

    def _approve(self, account: Account, contract: str, amount: int) -> SignedCall:
        spender = self.chain.ledger.contracts.addresses[contract]
        return SignedCall(account, self.chain.call("Token", "approve", spender, amount))

    # ---- auctions -----------------------------------------------------------------------------------------------

    def introduce(self, network: BoostNetwork) -> Digest:
        """Register a learned auction's parameters by their digest, and keep them; no second time for the same."""
        digest = compute_network_digest(network)
        self.register_parameters(digest, json.dumps(to_record(network)).encode())
        return digest

    def register_parameters(self, digest: Digest, record: bytes) -> None:
        """The operator puts the digest of whatever an auction has learned on the chain; its record is kept here."""
        self.folder.put("networks", f"{digest.hex()}.json", record)
        if digest not in self.state.networks:
            call = self.chain.call("Auctions", "introduce", digest)
            self._submit("introduce", SignedCall(self.folder.operator, call))

    def make_table(
        self, numbers: Sequence[int], network: BoostNetwork | None, scale: int
    ) -> tuple[BoostTable, tuple[int, ...]]:
        """The boosts of an auction of these listings, and the reputations that they are made of."""
        entries = [self.find_listing(number) for number in numbers]
        if not 1 <= len(entries) <= MOST_LOTS:
            raise UserError(f"{len(entries)} listings; allowed: 1 to {MOST_LOTS} in an auction")
        reputations = self.reputations([entry.seller for entry in entries])
        asks = [entry.listing.price for entry in entries]
        try:
            return make_table(network, reputations, scale, asks), reputations
        except ValueError as error:  # boosts that no reader's integers would hold
            raise UserError(f"scale {scale}, asks {asks}: {error}") from None

    def propose(
        self,
        numbers: Sequence[int],
        *,
        network: BoostNetwork | None,
        scale: int,
        bidding: Duration,
        revealing: Duration,
    ) -> int:
        """An edge server proposes an auction, the others compute its table themselves and confirm.

        Args:
            numbers: of exclusive listings that are open.
            network: that makes the table of the sellers' reputations; None: each model by itself with a reserve
                price of half of ``scale``.
            scale: what a value of one means, 10^-6 tokens.
            bidding: how long bids are taken.
            revealing: how long they may be revealed after that.

        Returns:
            The auction's number.
        """
        digest = self.introduce(network) if network is not None else Digest(EMPTY_DIGEST)
        self.tick()
        ordered = sorted(set(numbers))
        table, reputations = self.make_table(ordered, network, scale)
        until = self.state.now + bidding
        deadlines = (until, until + revealing)
        arguments = (list(ordered), list(reputations), digest, scale, table.bundle, table.unsold, *deadlines)
        self._submit("auction", self._at_edge(self.chain.call("Auctions", "propose", *arguments)))
        number = len(self.state.auctions)
        again, _ = self.make_table(ordered, network, scale)
        confirmation = self.chain.call("Auctions", "confirm", number, again.compute_digest())
        others = range(1, len(self._active()) // 2 + 1)
        self._submit("auction", *(self._at_edge(confirmation, place) for place in others))
        return number

    def find_auction(self, number: int) -> Auction:
        """Raises ``UserError`` for a number of no auction."""
        if number not in self.state.auctions:
            raise UserError(f"auction {number}: there is none; allowed: 1 to {len(self.state.auctions)}")
        return self.state.auctions[number]

    def bid(self, buyer: str, number: int, amounts: Sequence[int], deposit: int) -> None:
        """A sealed bid with its deposit; what it takes to reveal it is kept in the folder.

        Args:
            buyer: name.
            number: of the auction.
            amounts: one for each listing of the auction, or one for each bundle, 10^-6 tokens.
            deposit: at least what is bid for any bundle.
        """
        account, auction = self.folder.find_trader(buyer), self.find_auction(number)
        models = len(auction.listings)
        if len(amounts) not in (models, 1 << models) or any(amount < 0 for amount in amounts):
            raise UserError(
                f"{len(amounts)} amounts; allowed: {models}, or {1 << models} for bundles, from 0"
            )
        highest = sum(amounts) if len(amounts) == models else max(amounts)
        if highest > deposit:
            raise UserError(f"a bid of up to {highest} above its deposit of {deposit}; allowed: at most that")
        salt = secrets.token_bytes(KEY_BYTES)
        handle = self.chain.find_handle(account.address)
        commitment = compute_commitment(auction=number, buyer=handle, salt=salt, amounts=amounts)
        if any(bid.buyer == handle for bid in auction.bids):
            raise UserError("bid: bid before")
        self.folder.keep_bid(
            number, buyer, salt, tuple(amounts)
        )  # first: without it the bid could not be revealed
        try:
            self._submit(
                "bid",
                self._approve(account, "Auctions", deposit),
                SignedCall(account, self.chain.call("Auctions", "bid", number, commitment, deposit)),
            )
        except UserError:
            self.folder.drop_bid(number, buyer)
            raise

    def reveal(self, buyer: str, number: int) -> tuple[int, ...]:
        """Reveal a bid; returns its amounts."""
        account = self.folder.find_trader(buyer)
        self.find_auction(number)
        salt, amounts = self.folder.read_bid(number, buyer)
        self._submit(
            "reveal", SignedCall(account, self.chain.call("Auctions", "reveal", number, salt, list(amounts)))
        )
        return amounts

    def settle(self, number: int) -> tuple[int, ...]:
        """Have the contract award and charge; returns the numbers of the trades that come of it."""
        auction, before = self.find_auction(number), len(self.state.trades)
        bids = [bid.amounts or () for bid in auction.bids]
        call = self.chain.call(
            "Auctions",
            "settle",
            number,
            auction.bundle,
            auction.unsold,
            [len(bid) for bid in bids],
            [amount for bid in bids for amount in bid],
        )
        self._submit("settle", self._at_edge(call))
        return tuple(range(before + 1, len(self.state.trades) + 1))

    # ---- delivery -----------------------------------------------------------------------------------------------

    def find_trade(self, number: int) -> Trade:
        """Raises ``UserError`` for a number of no trade."""
        if number not in self.state.trades:
            raise UserError(f"trade {number}: there is none; allowed: 1 to {len(self.state.trades)}")
        return self.state.trades[number]

    def deliver(self, seller: str, number: int, content: bytes | None = None) -> None:
        """The seller encrypts the model for the buyer; ``content``: of another file than the listed one."""
        account, trade = self.folder.find_trader(seller), self.find_trade(number)
        content = content if content is not None else self.open_custody(trade.listing)
        receivers = [self.chain.find_public_key(trade.account)]
        receivers += [server.public_key for server in self.folder.edge_servers]
        delivery = pack_delivery(
            account,
            receivers,
            market=self.chain.separator,
            trade=number,
            content=content,
            key=secrets.token_bytes(KEY_BYTES),
        )
        place = f"deliveries/{number}"
        self.folder.put(place, "file", delivery.file)
        for receiver, box in delivery.boxes.items():
            self.folder.put(place, f"{receiver.hex()}.box", box)
        call = self.chain.call("Trades", "deliver", number, delivery.digest, delivery.key)
        self._submit("deliver", SignedCall(account, call))

    def _open_delivery(self, receiver: Account, trade: Trade) -> bytes:
        """What a receiver finds in a delivery; raises ``ValueError`` for what is wrong with it."""
        if trade.file is None or trade.key is None:
            raise UserError(f"trade {trade.number}: not delivered yet")
        entry, place = self.find_listing(trade.listing), f"deliveries/{trade.number}"
        try:
            file = self.folder.get(place, "file")
            box = self.folder.get(place, f"{receiver.address.hex()}.box")
        except VerificationError as error:  # announced, and not handed over
            raise ValueError(str(error)) from None
        return open_delivery(
            receiver,
            market=self.chain.separator,
            trade=trade.number,
            seller=self.chain.find_account(entry.seller),
            file=file,
            box=box,
            digest=trade.file,
            key=trade.key,
            model=entry.listing.model,
        )

    def open_bought(self, buyer: str, number: int) -> bytes:
        """What the buyer finds in a delivery, as often as it likes; nothing is accepted by that.

        Where the sale is paid, but the seller's box for this buyer does not open (the edge servers found theirs in
        order, or the buyer was silent), an edge server hands over the model in its custody.

        Raises:
            UserError: not delivered yet, or not this trader's.
            ValueError: the delivery is not what was bought: a reason to dispute.
        """
        account, trade = self.folder.find_trader(buyer), self.find_trade(number)
        if self.chain.find_handle(account.address) != trade.buyer:
            raise UserError(f"trade {number}: {buyer} is not the buyer")
        try:
            return self._open_delivery(account, trade)
        except ValueError:
            if trade.state is TradeState.SETTLED:
                return self.open_custody(trade.listing)
            raise

    def accept(self, buyer: str, number: int) -> None:
        """The buyer has what it bought: the seller is paid."""
        account = self.folder.find_trader(buyer)
        self._submit("accept", SignedCall(account, self.chain.call("Trades", "accept", number)))

    def dispute(self, buyer: str, number: int) -> None:
        """The buyer has something else: the edge servers decide."""
        account = self.folder.find_trader(buyer)
        self._submit("dispute", SignedCall(account, self.chain.call("Trades", "dispute", number)))

    def collect(self, buyer: str, number: int, keep: Callable[[bytes], None] | None = None) -> bytes:
        """The buyer opens a delivery, and accepts it where it is what was bought, which pays the seller.

        Args:
            buyer: name.
            number: of the trade.
            keep: puts the model where it lasts, before anything is paid.

        Raises:
            UserError: it is something else; it is disputed then, and the edge servers decide.
        """
        try:
            content = self.open_bought(buyer, number)
        except ValueError as error:
            if self.find_trade(number).state is TradeState.DELIVERED:
                self.dispute(buyer, number)
                error = ValueError(f"{error}; disputed, the edge servers decide")
            raise UserError(f"trade {number}: {error}") from None
        if keep is not None:
            keep(content)
        if self.find_trade(number).state is TradeState.DELIVERED:
            self.accept(buyer, number)
        return content

    def decide(self, number: int) -> bool:
        """The edge servers open a disputed delivery themselves and vote; returns whether it was in order.

        Raises:
            UserError: no majority; the buyer is refunded once the time to decide is over (``expire``).
        """
        trade = self.find_trade(number)
        voted = {voter for voter, _ in trade.votes}
        for server in self._active():
            if self.find_trade(number).state is not TradeState.DISPUTED and voted:
                break  # a strict majority has voted
            if server.address in voted:
                continue
            try:
                self._open_delivery(server, trade)
                good = True
            except ValueError:
                good = False
            self._submit("vote", SignedCall(server, self.chain.call("Trades", "vote", number, good)))
            voted.add(server.address)
        state = self.find_trade(number).state
        if state is TradeState.DISPUTED:
            raise UserError(
                f"trade {number}: the edge servers disagree; `expire` refunds it once its time is over"
            )
        return state is TradeState.SETTLED

    def expire(self, number: int) -> None:
        """What silence leads to: an undelivered trade is refunded, an unanswered delivery paid."""
        trade = self.find_trade(number)
        self.tick()
        name = "claim" if trade.state is TradeState.DELIVERED else "reclaim"
        self._submit(name, self._at_edge(self.chain.call("Trades", name, number)))

    def rate(self, buyer: str, number: int, accuracy: int) -> bool:
        """The buyer rates with the accuracy that it measured, ppm; returns whether that was a positive event."""
        account = self.folder.find_trader(buyer)
        self.find_trade(number)
        self._submit("rate", SignedCall(account, self.chain.call("Trades", "rate", number, accuracy)))
        return bool(self.state.trades[number].positive)
