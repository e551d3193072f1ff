"""``platoon market``: models on offer, judged, bought, rated. Tables for people, or ``--json``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from platoon.cli import options
from platoon.errors import UserError
from platoon.nouns import MILLION

if TYPE_CHECKING:
    from platoon.drivers.market.desk import Desk
    from platoon.drivers.market.judging import Labelled
    from platoon.market.auction.boosts import BoostNetwork

market_app = typer.Typer(
    help="A market of models: list, search, judge, bid, buy, rate.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Argument(metavar="MARKET", help="folder of the market")]
Number = Annotated[int, typer.Argument(min=1, help="its number")]
Numbers = Annotated[list[int], typer.Argument(min=1, help="numbers of listings")]
Name = Annotated[str, typer.Option("--as", help="name of the trader who does this")]
At = Annotated[
    float | None,
    typer.Option(
        min=0, help="the market's time, seconds since it was founded; default: by this machine's clock"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object instead of a text")]
LabelledFile = Annotated[
    Path | None,
    typer.Option("--data", help="your labelled images: .npz with images, labels and, if any, names"),
]
LabelledSet = Annotated[str | None, typer.Option("--dataset", help="or test images of a data set, as mnist")]
Samples = Annotated[int, typer.Option(min=1, help="how many of the data set")]


@contextmanager
def at_desk(path: Path, at: float | None) -> "Iterator[Desk]":
    """A market that is open, until the command ends."""
    from platoon.drivers.market.desk import Desk
    from platoon.drivers.market.folder import MarketFolder, to_instant
    from platoon.ledger.market_chain import MarketChain

    folder = MarketFolder.open(path)
    try:
        chain = MarketChain.open(folder.ledger, edge_servers=folder.edge_servers)
        try:
            clock = folder.read_clock if at is None else lambda: to_instant(at)
            yield Desk(folder, chain, clock)
        finally:
            chain.close()
    finally:
        folder.release()


def _run(command: Callable[[], None]) -> None:
    options.guarded(command, interrupted="what was shown as done stands on the market's ledger")


def _say(as_json: bool, told: dict[str, Any], text: str) -> None:
    if as_json:
        options.print_json(told)
    else:
        options.stdout.print(text, markup=False, soft_wrap=True)


def to_tokens(amount: float) -> int:
    """Integers of 10^-6 from what a user types; raises ``UserError`` out of range."""
    if not 0 <= amount < 2**43:
        raise UserError(f"an amount of {amount} tokens; allowed: 0 to 2^43")
    return round(amount * MILLION)


def to_share(value: float, what: str) -> int:
    """Parts per million from a share; raises ``UserError`` out of range."""
    if not 0 <= value <= 1:
        raise UserError(f"{what} of {value}; allowed: 0 to 1")
    return round(value * MILLION)


# ---- who takes part ---------------------------------------------------------------------------------------------


@market_app.command("open")
def open_market(
    market: Folder,
    edge_servers: Annotated[
        int, typer.Option(min=1, max=64, help="that keep the chain and decide disputes")
    ] = 4,
    patience: Annotated[float, typer.Option(min=1, help="seconds to deliver, to answer, to decide")] = 3600,
    as_json: Json = False,
) -> None:
    """Found a market in a new folder: contracts, an operator, edge servers."""

    def command() -> None:
        from platoon.drivers.market.folder import MarketFolder
        from platoon.ledger.market_chain import MarketChain, MarketRules
        from platoon.nouns import Instant, seconds

        folder = MarketFolder.create(market, edge_servers=edge_servers)
        try:
            chain = MarketChain.create(
                folder.ledger,
                chain_id=folder.chain_id,
                operator=folder.operator,
                edge_servers=folder.edge_servers,
                rules=MarketRules(patience=seconds(patience)),
                at=Instant(0),
            )
            head = chain.ledger.head.hex()
            chain.close()
        finally:
            folder.release()
        _say(
            as_json,
            {"market": str(market), "edge_servers": edge_servers, "head": head},
            f"{market}: a market with {edge_servers} edge servers. `platoon market join` adds traders.",
        )

    _run(command)


@market_app.command()
def join(
    market: Folder,
    name: Annotated[str, typer.Argument(help="of the new trader")],
    tokens: Annotated[float, typer.Option(help="that it pays in")] = 100.0,
    at: At = None,
    as_json: Json = False,
) -> None:
    """The operator registers a trader, and mints the tokens that it has paid for."""

    def command() -> None:
        from platoon.nouns import Tokens

        with at_desk(market, at) as desk:
            account = desk.join(name, Tokens(to_tokens(tokens)))
            handle = desk.chain.find_handle(account.address)
        told = {"name": name, "handle": handle, "account": f"0x{account.address.hex()}", "tokens": tokens}
        _say(
            as_json, told, f"{name} takes part as trader {handle} ({told['account']}) with {tokens:g} tokens."
        )

    _run(command)


@market_app.command()
def appoint(
    market: Folder,
    name: Annotated[str, typer.Argument(help="of a buyer that the operator trusts")],
    at: At = None,
    as_json: Json = False,
) -> None:
    """Make a buyer a referee: where half of the raters lie, nothing else tells them apart."""

    def command() -> None:
        with at_desk(market, at) as desk:
            desk.appoint(name)
        _say(as_json, {"referee": name}, f"{name} is a referee from now on.")

    _run(command)


# ---- offers -----------------------------------------------------------------------------------------------------


@market_app.command()
def publish(
    market: Folder,
    name: Name,
    price: Annotated[float, typer.Option(help="the least that you sell it for, tokens")],
    threshold: Annotated[float, typer.Option(help="accuracy at the buyer from which on you did well")],
    run: Annotated[Path | None, typer.Option(help="run directory whose final model it is")] = None,
    model: Annotated[Path | None, typer.Option(help="or a safetensors file, with --like")] = None,
    like: Annotated[
        Path | None, typer.Option(help="JSON that describes the file: labels, accuracy, architecture, inputs")
    ] = None,
    task: Annotated[str, typer.Option(help="what it does, in the words of buyers")] = "image classification",
    exclusive: Annotated[bool, typer.Option("--exclusive", help="one buyer, by auction")] = False,
    usage: Annotated[str, typer.Option(help="what a buyer may do with it")] = "any",
    requirement: Annotated[str, typer.Option(help="what you want of a buyer")] = "",
    place: Annotated[str, typer.Option(metavar="X,Y", help="where it was trained, metres")] = "",
    at: At = None,
    as_json: Json = False,
) -> None:
    """List a model. An edge server holds the file against the listing, and keeps it to judge it for buyers."""

    def command() -> None:
        from platoon.cli.market_input import read_description
        from platoon.drivers.market.desk import Terms
        from platoon.nouns import Tokens

        terms = Terms(
            price=Tokens(to_tokens(price)), threshold=to_share(threshold, "a threshold"), exclusive=exclusive
        )
        words = {"task": task, "usage": usage, "requirement": requirement}
        content, description = read_description(run, model, like, words, place)
        with at_desk(market, at) as desk:
            number = desk.publish(name, content, description, terms)
            entry = desk.find_listing(number)
        told = {"listing": number, "model": entry.listing.model.hex(), "bytes": entry.listing.size}
        _say(
            as_json,
            told,
            f"Listing {number}: {description.task}, {entry.listing.size} bytes, {price:g} tokens.",
        )

    _run(command)


@market_app.command()
def withdraw(market: Folder, number: Number, name: Name, at: At = None, as_json: Json = False) -> None:
    """Take a listing back."""

    def command() -> None:
        with at_desk(market, at) as desk:
            desk.withdraw(name, number)
        _say(as_json, {"listing": number}, f"Listing {number} is withdrawn.")

    _run(command)


@market_app.command()
def search(
    market: Folder,
    task: Annotated[str, typer.Option(help="words that its task has")] = "",
    labels: Annotated[str, typer.Option(help="labels that it knows, by comma")] = "",
    most_bytes: Annotated[int | None, typer.Option(help="largest file")] = None,
    most_price: Annotated[float | None, typer.Option(help="tokens")] = None,
    least_reputation: Annotated[float, typer.Option(help="of its seller, 0 to 1")] = 0.0,
    near: Annotated[str, typer.Option(metavar="X,Y", help="your place, metres; needs --roads")] = "",
    roads: Annotated[
        Path | None, typer.Option(metavar="SCENARIO.toml", help="whose roads distances are driven on")
    ] = None,
    most_metres: Annotated[float | None, typer.Option(help="by road to where it was trained")] = None,
    like: Annotated[Path | None, typer.Option(help="your images (.npz): closest domains first")] = None,
    at: At = None,
    as_json: Json = False,
) -> None:
    """List what is for sale and fits, the most promising first."""

    def command() -> None:
        from platoon.cli.market_input import make_wanted, measure_metres
        from platoon.cli.market_view import found_rows, print_found

        wanted = make_wanted(task, labels, most_bytes, most_price, least_reputation, most_metres, like)
        with at_desk(market, at) as desk:
            metres = measure_metres(desk, near, roads)
            found = desk.search(wanted, metres)
            rows = found_rows(desk, found)
        if as_json:
            options.print_json({"listings": rows})
        else:
            print_found(rows)

    _run(command)


@market_app.command()
def judge(
    market: Folder,
    numbers: Annotated[
        list[int] | None, typer.Argument(help="listings; default: all that are for sale")
    ] = None,
    data: LabelledFile = None,
    dataset: LabelledSet = None,
    samples: Samples = 100,
    seed: Annotated[int, typer.Option(min=0, help="which images of the data set")] = 1,
    at: At = None,
    as_json: Json = False,
) -> None:
    """Have the edge server score models on your labelled images. The models do not leave it."""

    def command() -> None:
        from platoon.cli.market_view import print_verdict, verdict_rows
        from platoon.drivers.market.judging import judge_listings

        own = _labelled(data, dataset, samples, seed)
        with at_desk(market, at) as desk:
            verdict = judge_listings(desk, numbers or desk.list_open(), own)
        if as_json:
            options.print_json(verdict_rows(verdict))
        else:
            print_verdict(verdict)

    _run(command)


def _labelled(data: Path | None, dataset: str | None, samples: int, seed: int) -> "Labelled":
    from platoon.drivers.market.judging import draw_labelled, read_labelled

    if (data is None) == (dataset is None):
        raise UserError("your images: allowed is either --data FILE.npz or --dataset NAME")
    return read_labelled(data) if data is not None else draw_labelled(str(dataset), samples, seed)


# ---- auctions ---------------------------------------------------------------------------------------------------


@market_app.command()
def auction(
    market: Folder,
    numbers: Numbers,
    network: Annotated[
        str, typer.Option(help="learned auction: a name, a file, or none for a reserve price a model")
    ] = "r1",
    scale: Annotated[float, typer.Option(help="what the network takes for a value of one, tokens")] = 1.0,
    bidding: Annotated[float, typer.Option(min=0.001, help="seconds in which bids are taken")] = 60.0,
    revealing: Annotated[float, typer.Option(min=0.001, help="seconds after that to reveal them")] = 60.0,
    at: At = None,
    as_json: Json = False,
) -> None:
    """Open an auction of exclusive listings; reputations are frozen now."""

    def command() -> None:
        from platoon.nouns import seconds

        chosen = _network(network)
        with at_desk(market, at) as desk:
            number = desk.propose(
                numbers,
                network=chosen,
                scale=to_tokens(scale),
                bidding=seconds(bidding),
                revealing=seconds(revealing),
            )
            found = desk.find_auction(number)
        told = {
            "auction": number,
            "listings": list(found.listings),
            "reputations": list(found.reputations),
            "network": found.network.hex(),
            "bundle": list(found.bundle),
            "unsold": list(found.unsold),
            "bids_until": found.bids_until / MILLION,
            "reveals_until": found.reveals_until / MILLION,
        }
        text = f"Auction {number} of listings {', '.join(map(str, found.listings))}: bids until second "
        text += f"{told['bids_until']:g}, reveals until second {told['reveals_until']:g} of the market."
        _say(as_json, told, text)

    _run(command)


def _network(name: str) -> "BoostNetwork | None":
    from platoon.cli.market_input import read_network

    return None if name == "none" else read_network(name)


@market_app.command()
def bid(
    market: Folder,
    number: Number,
    name: Name,
    amounts: Annotated[
        str,
        typer.Option(
            help="tokens for each listing of the auction in its order, by comma; or for each bundle"
        ),
    ],
    deposit: Annotated[float | None, typer.Option(help="tokens; default: the most that you bid")] = None,
    at: At = None,
    as_json: Json = False,
) -> None:
    """Make a sealed bid. Your best bid is what the models are worth to you, whatever others do."""

    def command() -> None:
        from platoon.cli.market_input import read_amounts

        offered = read_amounts(amounts)
        with at_desk(market, at) as desk:
            models = len(desk.find_auction(number).listings)
            most = sum(offered) if len(offered) == models else max(offered)
            paid_in = most if deposit is None else to_tokens(deposit)
            desk.bid(name, number, offered, paid_in)
        told = {"auction": number, "buyer": name, "deposit": paid_in / MILLION}
        text = f"{name} has bid in auction {number}, with a deposit of {paid_in / MILLION:g} tokens. "
        _say(
            as_json,
            told,
            text + f"`platoon market reveal {market} {number} --as {name}` once bidding is over.",
        )

    _run(command)


@market_app.command()
def reveal(market: Folder, number: Number, name: Name, at: At = None, as_json: Json = False) -> None:
    """Reveal your sealed bid, after bidding is over. What is not revealed does not count."""

    def command() -> None:
        with at_desk(market, at) as desk:
            amounts = desk.reveal(name, number)
        told = {"auction": number, "buyer": name, "amounts": [amount / MILLION for amount in amounts]}
        _say(as_json, told, f"{name} has revealed its bid in auction {number}.")

    _run(command)


@market_app.command()
def settle(market: Folder, number: Number, at: At = None, as_json: Json = False) -> None:
    """Have the contract award, charge and refund, after revealing is over."""

    def command() -> None:
        from platoon.cli.market_view import print_settlement, settlement_rows

        with at_desk(market, at) as desk:
            trades = desk.settle(number)
            told = settlement_rows(desk, number, trades)
        if as_json:
            options.print_json(told)
        else:
            print_settlement(told)

    _run(command)


# ---- buying -----------------------------------------------------------------------------------------------------


@market_app.command()
def menu(
    market: Folder,
    numbers: Numbers,
    prices: Annotated[str, typer.Option(help="of any one, any two, ... of them, tokens, by comma")],
    at: At = None,
    as_json: Json = False,
) -> None:
    """Post what several non-exclusive listings cost together."""

    def command() -> None:
        from platoon.cli.market_input import read_amounts

        asked = read_amounts(prices)
        with at_desk(market, at) as desk:
            number = desk.post_menu(sorted(set(numbers)), asked)
        _say(as_json, {"menu": number}, f"Menu {number} is posted.")

    _run(command)


@market_app.command()
def buy(
    market: Folder,
    numbers: Numbers,
    name: Name,
    menu: Annotated[int | None, typer.Option(min=1, help="buy at this menu's price")] = None,
    at: At = None,
    as_json: Json = False,
) -> None:
    """Buy non-exclusive models at their price, or several at a menu's."""

    def command() -> None:
        with at_desk(market, at) as desk:
            if menu is not None:
                trades = list(desk.choose(name, menu, numbers))
            else:
                trades = [desk.buy(name, number) for number in numbers]
            paid = sum(desk.find_trade(number).price for number in trades) / MILLION
        _say(
            as_json,
            {"trades": trades, "paid": paid},
            f"{name} has paid {paid:g} tokens in: {', '.join(f'trade {t}' for t in trades)}.",
        )

    _run(command)


@market_app.command()
def deliver(
    market: Folder,
    number: Number,
    model: Annotated[Path | None, typer.Option(help="file to send; default: the listed one")] = None,
    at: At = None,
    as_json: Json = False,
) -> None:
    """The seller encrypts the model for the buyer and hands it over."""

    def command() -> None:
        from platoon.cli.market_input import read_bytes

        with at_desk(market, at) as desk:
            seller = desk.name_of(desk.find_listing(desk.find_trade(number).listing).seller)
            desk.deliver(seller, number, read_bytes(model) if model is not None else None)
        _say(as_json, {"trade": number, "seller": seller}, f"{seller} has delivered trade {number}.")

    _run(command)


@market_app.command()
def collect(
    market: Folder,
    number: Number,
    name: Name,
    out: Annotated[Path, typer.Option(help="file to write the model to")],
    at: At = None,
    as_json: Json = False,
) -> None:
    """Open a delivery and check it: what was bought is paid, anything else is disputed."""

    def command() -> None:
        if out.exists():
            raise UserError(f"{out}: there is something already; allowed: a new file")
        with at_desk(market, at) as desk:
            content = desk.collect(name, number)
            out.write_bytes(content)
            price = desk.find_trade(number).price / MILLION
        told = {"trade": number, "file": str(out), "bytes": len(content), "paid": price}
        _say(as_json, told, f"{out}: {len(content)} bytes, as listed; the seller has its {price:g} tokens.")

    _run(command)


@market_app.command()
def decide(market: Folder, number: Number, at: At = None, as_json: Json = False) -> None:
    """The edge servers open a disputed delivery and vote."""

    def command() -> None:
        with at_desk(market, at) as desk:
            good = desk.decide(number)
        text = "the delivery is in order, the seller is paid" if good else "it is not, the buyer is refunded"
        _say(as_json, {"trade": number, "good": good}, f"Trade {number}: {text}.")

    _run(command)


@market_app.command()
def expire(market: Folder, number: Number, at: At = None, as_json: Json = False) -> None:
    """End a trade in which somebody is silent: undelivered is refunded, unanswered is paid."""

    def command() -> None:
        with at_desk(market, at) as desk:
            desk.expire(number)
            state = desk.find_trade(number).state.name.lower()
        _say(as_json, {"trade": number, "state": state}, f"Trade {number} is {state}.")

    _run(command)


@market_app.command()
def rate(
    market: Folder,
    number: Number,
    name: Name,
    accuracy: Annotated[float | None, typer.Option(help="that you have measured, 0 to 1")] = None,
    data: LabelledFile = None,
    dataset: LabelledSet = None,
    samples: Samples = 1000,
    seed: Annotated[int, typer.Option(min=0, help="which images of the data set")] = 2,
    at: At = None,
    as_json: Json = False,
) -> None:
    """Rate a seller by what its model reaches on your images; once, after the trade."""

    def command() -> None:
        from platoon.drivers.market.judging import measure_accuracy

        with at_desk(market, at) as desk:
            if accuracy is not None:
                measured = to_share(accuracy, "an accuracy")
            else:
                listing = desk.find_listing(desk.find_trade(number).listing)
                own = _labelled(data, dataset, samples, seed)
                measured = measure_accuracy(desk.open_custody(listing.number), listing.listing, own)
            positive = desk.rate(name, number, measured)
        told = {"trade": number, "accuracy": measured / MILLION, "positive": positive}
        what = "positive" if positive else "negative"
        _say(as_json, told, f"Trade {number}: {measured / MILLION:.3f}, a {what} event.")

    _run(command)


# ---- looking ----------------------------------------------------------------------------------------------------


@market_app.command()
def history(market: Folder, as_json: Json = False) -> None:
    """Everything that has happened, and how everybody stands."""

    def command() -> None:
        from platoon.cli.market_view import history_rows, print_history

        with at_desk(market, None) as desk:
            told = history_rows(desk)
        if as_json:
            options.print_json(told)
        else:
            print_history(told)

    _run(command)


@market_app.command()
def verify(market: Folder, as_json: Json = False) -> None:
    """Replay the ledger, check every seal, and hold every model in custody against its listing."""

    def command() -> None:
        from platoon.drivers.market.verify import verify_folder

        told = verify_folder(market)
        _say(
            as_json,
            told,
            f"{market}: {told['blocks']} blocks, {told['models']} models and {told['auctions']} auctions in order.",
        )

    _run(command)
