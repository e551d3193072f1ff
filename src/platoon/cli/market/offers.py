"""``platoon market`` open, join, appoint, publish, withdraw, search, judge."""

from pathlib import Path
from typing import Annotated

import typer

from platoon.cli import options
from platoon.cli.market import app


@app.market_app.command("open")
def open_market(
    market: app.Folder,
    edge_servers: Annotated[
        int, typer.Option(min=1, max=64, help="that keep the chain and decide disputes")
    ] = 4,
    patience: Annotated[float, typer.Option(min=1, help="seconds to deliver, to answer, to decide")] = 3600,
    opinions: Annotated[
        str, typer.Option(help="what buyers share: direct (values), or as_written (integrated ones)")
    ] = "direct",
    weights: Annotated[
        str, typer.Option(help="of direct, recommended and referenced opinions, by comma")
    ] = "0.5,0.3,0.2",
    as_json: app.Json = False,
) -> None:
    """Found a market in a new folder: contracts, an operator, edge servers."""

    def command() -> None:
        from platoon.cli.market.reading import read_opinions
        from platoon.drivers.market.folder import MarketFolder, to_duration
        from platoon.ledger.market_chain import MarketChain, MarketRules
        from platoon.nouns import Instant

        rules = MarketRules(
            patience=to_duration(patience, "--patience"), opinions=read_opinions(opinions, weights)
        )
        folder = MarketFolder.create(market, edge_servers=edge_servers)
        try:
            chain = MarketChain.create(
                folder.ledger,
                chain_id=folder.chain_id,
                operator=folder.operator,
                edge_servers=folder.edge_servers,
                rules=rules,
                at=Instant(0),
            )
            head = chain.ledger.head.hex()
            chain.close()
        finally:
            folder.release()
        app.say(
            as_json,
            {"market": str(market), "edge_servers": edge_servers, "head": head},
            f"{market}: a market with {edge_servers} edge servers. `platoon market join` adds traders.",
        )

    app.run(command)


@app.market_app.command()
def join(
    market: app.Folder,
    name: Annotated[str, typer.Argument(help="of the new trader")],
    tokens: Annotated[float, typer.Option(help="that it pays in")] = 100.0,
    at: app.At = None,
    as_json: app.Json = False,
) -> None:
    """The operator registers a trader, and mints the tokens that it has paid for."""

    def command() -> None:
        from platoon.nouns import Tokens

        with app.at_desk(market, at) as desk:
            account = desk.join(name, Tokens(app.to_tokens(tokens)))
            handle = desk.chain.find_handle(account.address)
        told = {"name": name, "handle": handle, "account": f"0x{account.address.hex()}", "tokens": tokens}
        app.say(
            as_json, told, f"{name} takes part as trader {handle} ({told['account']}) with {tokens:g} tokens."
        )

    app.run(command)


@app.market_app.command()
def appoint(
    market: app.Folder,
    name: Annotated[str, typer.Argument(help="of a buyer that the operator trusts")],
    at: app.At = None,
    as_json: app.Json = False,
) -> None:
    """Make a buyer a referee: where half of the raters lie, nothing else tells them apart."""

    def command() -> None:
        with app.at_desk(market, at) as desk:
            desk.appoint(name)
        app.say(as_json, {"referee": name}, f"{name} is a referee from now on.")

    app.run(command)


@app.market_app.command()
def publish(
    market: app.Folder,
    name: app.Name,
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
    at: app.At = None,
    as_json: app.Json = False,
) -> None:
    """List a model. An edge server holds the file against the listing, and keeps it to judge it for buyers."""

    def command() -> None:
        from platoon.cli.market.reading import read_description
        from platoon.drivers.market.checks import Terms
        from platoon.nouns import Tokens

        terms = Terms(
            price=Tokens(app.to_tokens(price)),
            threshold=app.to_share(threshold, "a threshold"),
            exclusive=exclusive,
        )
        words = {"task": task, "usage": usage, "requirement": requirement}
        content, description = read_description(run, model, like, words, place)
        with app.at_desk(market, at) as desk:
            number = desk.publish(name, content, description, terms)
            entry = desk.find_listing(number)
        told = {"listing": number, "model": entry.listing.model.hex(), "bytes": entry.listing.size}
        app.say(
            as_json,
            told,
            f"Listing {number}: {description.task}, {entry.listing.size} bytes, {price:g} tokens.",
        )

    app.run(command)


@app.market_app.command()
def withdraw(
    market: app.Folder, number: app.Number, name: app.Name, at: app.At = None, as_json: app.Json = False
) -> None:
    """Take a listing back."""

    def command() -> None:
        with app.at_desk(market, at) as desk:
            desk.withdraw(name, number)
        app.say(as_json, {"listing": number}, f"Listing {number} is withdrawn.")

    app.run(command)


@app.market_app.command()
def search(
    market: app.Folder,
    task: Annotated[str, typer.Option(help="words that its task has")] = "",
    labels: Annotated[str, typer.Option(help="labels that it knows, by comma")] = "",
    most_bytes: Annotated[int | None, typer.Option(help="largest file")] = None,
    most_price: Annotated[float | None, typer.Option(help="tokens")] = None,
    least_reputation: Annotated[float, typer.Option(help="of its seller, 0 to 1")] = 0.0,
    by: Annotated[
        str, typer.Option(help="reputations: market (wide), or yours: integrated, subjective")
    ] = "market",
    name: Annotated[str | None, typer.Option("--as", help="whose view that is")] = None,
    near: Annotated[str, typer.Option(metavar="X,Y", help="your place, metres; needs --roads")] = "",
    roads: Annotated[
        Path | None, typer.Option(metavar="SCENARIO.toml", help="whose roads distances are driven on")
    ] = None,
    most_metres: Annotated[float | None, typer.Option(help="by road to where it was trained")] = None,
    like: Annotated[Path | None, typer.Option(help="your images (.npz): closest domains first")] = None,
    at: app.At = None,
    as_json: app.Json = False,
) -> None:
    """List what is for sale and fits, the most promising first."""

    def command() -> None:
        from platoon.cli.market.reading import make_wanted, measure_metres
        from platoon.cli.market.view import found_rows, print_found
        from platoon.drivers.market.views import view_reputations

        wanted = make_wanted(task, labels, most_bytes, most_price, least_reputation, most_metres, like)
        with app.at_desk(market, at) as desk:
            metres = measure_metres(desk, near, roads)
            found = desk.search(wanted, metres, view_reputations(desk, by, name))
            rows = found_rows(desk, found)
        if as_json:
            options.print_json({"listings": rows})
        else:
            print_found(rows)

    app.run(command)


@app.market_app.command()
def judge(
    market: app.Folder,
    numbers: Annotated[
        list[int] | None, typer.Argument(help="listings; default: all that are for sale")
    ] = None,
    data: app.LabelledFile = None,
    dataset: app.LabelledSet = None,
    samples: app.Samples = 100,
    seed: Annotated[int, typer.Option(min=0, help="which images of the data set")] = 1,
    at: app.At = None,
    as_json: app.Json = False,
) -> None:
    """Have the edge server score models on your labelled images. The models do not leave it."""

    def command() -> None:
        from platoon.cli.market.view import print_verdict, verdict_rows
        from platoon.drivers.market.judging import judge_listings

        own = app.labelled(data, dataset, samples, seed)
        with app.at_desk(market, at) as desk:
            verdict = judge_listings(desk, numbers or desk.list_open(), own)
        if as_json:
            options.print_json(verdict_rows(verdict))
        else:
            print_verdict(verdict)

    app.run(command)
