"""``platoon market`` auction, bid, reveal, settle."""

from typing import TYPE_CHECKING, Annotated

import typer

from platoon.cli import options
from platoon.cli.market import app
from platoon.nouns import MILLION

if TYPE_CHECKING:
    from platoon.market.auction.boosts import BoostNetwork


@app.market_app.command()
def auction(
    market: app.Folder,
    numbers: app.Numbers,
    network: Annotated[
        str, typer.Option(help="learned auction: a name, a file, or none for a reserve price a model")
    ] = "r1",
    scale: Annotated[float, typer.Option(help="what the network takes for a value of one, tokens")] = 1.0,
    bidding: Annotated[float, typer.Option(min=0.001, help="seconds in which bids are taken")] = 60.0,
    revealing: Annotated[float, typer.Option(min=0.001, help="seconds after that to reveal them")] = 60.0,
    at: app.At = None,
    as_json: app.Json = False,
) -> None:
    """Open an auction of exclusive listings; reputations are frozen now."""

    def command() -> None:
        from platoon.drivers.market.folder import to_duration

        chosen = _network(network)
        with app.at_desk(market, at) as desk:
            number = desk.propose(
                numbers,
                network=chosen,
                scale=app.to_tokens(scale),
                bidding=to_duration(bidding, "--bidding"),
                revealing=to_duration(revealing, "--revealing"),
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
        app.say(as_json, told, text)

    app.run(command)


def _network(name: str) -> "BoostNetwork | None":
    from platoon.cli.market.reading import read_network

    return None if name == "none" else read_network(name)


@app.market_app.command()
def bid(
    market: app.Folder,
    number: app.Number,
    name: app.Name,
    amounts: Annotated[
        str,
        typer.Option(
            help="tokens for each listing of the auction in its order, by comma; or for each bundle"
        ),
    ],
    deposit: Annotated[
        float | None,
        typer.Option(help="tokens; public, unlike your bid; default: a power of two above it"),
    ] = None,
    at: app.At = None,
    as_json: app.Json = False,
) -> None:
    """Make a sealed bid. Your best bid is what the models are worth to you, whatever others do."""

    def command() -> None:
        from platoon.cli.market.reading import read_amounts
        from platoon.drivers.market.checks import suggest_deposit

        offered = read_amounts(amounts)
        with app.at_desk(market, at) as desk:
            models = len(desk.find_auction(number).listings)
            most = sum(offered) if len(offered) == models else max(offered)
            paid_in = suggest_deposit(most) if deposit is None else app.to_tokens(deposit)
            desk.bid(name, number, offered, paid_in)
        told = {"auction": number, "buyer": name, "deposit": paid_in / MILLION}
        text = f"{name} has bid in auction {number}, with a deposit of {paid_in / MILLION:g} tokens. "
        app.say(
            as_json,
            told,
            text + f"`platoon market reveal {market} {number} --as {name}` once bidding is over.",
        )

    app.run(command)


@app.market_app.command()
def reveal(
    market: app.Folder, number: app.Number, name: app.Name, at: app.At = None, as_json: app.Json = False
) -> None:
    """Reveal your sealed bid, after bidding is over. What is not revealed does not count."""

    def command() -> None:
        with app.at_desk(market, at) as desk:
            amounts = desk.reveal(name, number)
        told = {"auction": number, "buyer": name, "amounts": [amount / MILLION for amount in amounts]}
        app.say(as_json, told, f"{name} has revealed its bid in auction {number}.")

    app.run(command)


@app.market_app.command()
def settle(market: app.Folder, number: app.Number, at: app.At = None, as_json: app.Json = False) -> None:
    """Have the contract award, charge and refund, after revealing is over."""

    def command() -> None:
        from platoon.cli.market.view import print_settlement, settlement_rows

        with app.at_desk(market, at) as desk:
            trades = desk.settle(number)
            told = settlement_rows(desk, number, trades)
        if as_json:
            options.print_json(told)
        else:
            print_settlement(told)

    app.run(command)
