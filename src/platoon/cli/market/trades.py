"""``platoon market`` menu, buy, deliver, collect, decide, expire, rate, history, verify."""

from pathlib import Path
from typing import Annotated

import typer

from platoon.cli import options
from platoon.cli.market import app
from platoon.errors import UserError
from platoon.nouns import MILLION


@app.market_app.command()
def menu(
    market: app.Folder,
    numbers: app.Numbers,
    prices: Annotated[str, typer.Option(help="of any one, any two, ... of them, tokens, by comma")],
    at: app.At = None,
    as_json: app.Json = False,
) -> None:
    """Post what several non-exclusive listings cost together."""

    def command() -> None:
        from platoon.cli.market.reading import read_amounts

        asked = read_amounts(prices)
        with app.at_desk(market, at) as desk:
            number = desk.post_menu(sorted(set(numbers)), asked)
        app.say(as_json, {"menu": number}, f"Menu {number} is posted.")

    app.run(command)


@app.market_app.command()
def buy(
    market: app.Folder,
    numbers: app.Numbers,
    name: app.Name,
    menu: Annotated[int | None, typer.Option(min=1, help="buy at this menu's price")] = None,
    at: app.At = None,
    as_json: app.Json = False,
) -> None:
    """Buy non-exclusive models at their price, or several at a menu's."""

    def command() -> None:
        with app.at_desk(market, at) as desk:
            if menu is not None:
                trades = list(desk.choose(name, menu, numbers))
            else:
                trades = [desk.buy(name, number) for number in numbers]
            paid = sum(desk.find_trade(number).price for number in trades) / MILLION
        app.say(
            as_json,
            {"trades": trades, "paid": paid},
            f"{name} has paid {paid:g} tokens in: {', '.join(f'trade {t}' for t in trades)}.",
        )

    app.run(command)


@app.market_app.command()
def deliver(
    market: app.Folder,
    number: app.Number,
    model: Annotated[Path | None, typer.Option(help="file to send; default: the listed one")] = None,
    at: app.At = None,
    as_json: app.Json = False,
) -> None:
    """The seller encrypts the model for the buyer and hands it over."""

    def command() -> None:
        from platoon.cli.market.reading import read_bytes

        with app.at_desk(market, at) as desk:
            seller = desk.name_of(desk.find_listing(desk.find_trade(number).listing).seller)
            desk.deliver(seller, number, read_bytes(model) if model is not None else None)
        app.say(as_json, {"trade": number, "seller": seller}, f"{seller} has delivered trade {number}.")

    app.run(command)


@app.market_app.command()
def collect(
    market: app.Folder,
    number: app.Number,
    name: app.Name,
    out: Annotated[Path, typer.Option(help="file to write the model to")],
    at: app.At = None,
    as_json: app.Json = False,
) -> None:
    """Open a delivery and check it: what was bought is paid, anything else is disputed."""

    def command() -> None:
        from platoon.cli.market.reading import write_bytes

        with app.at_desk(market, at) as desk:
            content = desk.collect(name, number, keep=lambda found: write_bytes(out, found))
            price = desk.find_trade(number).price / MILLION
        told = {"trade": number, "file": str(out), "bytes": len(content), "paid": price}
        app.say(
            as_json, told, f"{out}: {len(content)} bytes, as listed; the seller has its {price:g} tokens."
        )

    app.run(command)


@app.market_app.command()
def decide(market: app.Folder, number: app.Number, at: app.At = None, as_json: app.Json = False) -> None:
    """The edge servers open a disputed delivery and vote."""

    def command() -> None:
        with app.at_desk(market, at) as desk:
            good = desk.decide(number)
        text = "the delivery is in order, the seller is paid" if good else "it is not, the buyer is refunded"
        app.say(as_json, {"trade": number, "good": good}, f"Trade {number}: {text}.")

    app.run(command)


@app.market_app.command()
def expire(market: app.Folder, number: app.Number, at: app.At = None, as_json: app.Json = False) -> None:
    """End a trade in which somebody is silent: undelivered is refunded, unanswered is paid."""

    def command() -> None:
        with app.at_desk(market, at) as desk:
            desk.expire(number)
            state = desk.find_trade(number).state.name.lower()
        app.say(as_json, {"trade": number, "state": state}, f"Trade {number} is {state}.")

    app.run(command)


@app.market_app.command()
def rate(
    market: app.Folder,
    number: app.Number,
    name: app.Name,
    accuracy: Annotated[float | None, typer.Option(help="that you have measured, 0 to 1")] = None,
    data: app.LabelledFile = None,
    dataset: app.LabelledSet = None,
    samples: app.Samples = 1000,
    seed: Annotated[int, typer.Option(min=0, help="which images of the data set")] = 2,
    at: app.At = None,
    as_json: app.Json = False,
) -> None:
    """Rate a seller by what its model reaches on your images; once, after the trade."""

    def command() -> None:
        from platoon.drivers.market.judging import measure_accuracy

        with app.at_desk(market, at) as desk:
            if accuracy is not None:
                measured = app.to_share(accuracy, "an accuracy")
            else:
                listing = desk.find_listing(desk.find_trade(number).listing)
                own = app.labelled(data, dataset, samples, seed)
                try:
                    bought = desk.open_bought(name, number)
                except ValueError as error:
                    raise UserError(f"trade {number}: {error}") from None
                measured = measure_accuracy(bought, listing.listing, own)
            positive = desk.rate(name, number, measured)
        told = {"trade": number, "accuracy": measured / MILLION, "positive": positive}
        what = "positive" if positive else "negative"
        app.say(as_json, told, f"Trade {number}: {measured / MILLION:.3f}, a {what} event.")

    app.run(command)


@app.market_app.command()
def history(market: app.Folder, as_json: app.Json = False) -> None:
    """Everything that has happened, and how everybody stands."""

    def command() -> None:
        from platoon.cli.market.view import history_rows, print_history

        with app.at_desk(market, None) as desk:
            told = history_rows(desk)
        if as_json:
            options.print_json(told)
        else:
            print_history(told)

    app.run(command)


@app.market_app.command()
def verify(market: app.Folder, as_json: app.Json = False) -> None:
    """Replay the ledger, check every seal, and hold every model in custody against its listing."""

    def command() -> None:
        from platoon.drivers.market.verify import verify_folder

        told = verify_folder(market)
        app.say(
            as_json,
            told,
            f"{market}: {told['blocks']} blocks, {told['models']} models and {told['auctions']} auctions in order.",
        )

    app.run(command)
