"""What the commands of ``platoon market`` share: arguments, the open desk, how results are told."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from platoon.cli import options
from platoon.errors import UserError
from platoon.nouns import MILLION, Instant

if TYPE_CHECKING:
    from platoon.drivers.market.desk import Desk
    from platoon.drivers.market.judging import Labelled

market_app = typer.Typer(
    help="A market of models: list, search, judge, bid, buy, rate.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Argument(metavar="MARKET", help="folder of the market")]
Number = Annotated[int, typer.Argument(min=1, max=2**63 - 1, help="its number")]
Numbers = Annotated[list[int], typer.Argument(min=1, max=2**63 - 1, help="numbers of listings")]
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
    from platoon.drivers.market.folder import MarketFolder, to_duration
    from platoon.ledger.market_chain import MarketChain

    told = None if at is None else Instant(to_duration(at, "--at"))
    folder = MarketFolder.open(path)
    try:
        chain = MarketChain.open(folder.ledger, edge_servers=folder.edge_servers)
        try:
            yield Desk(folder, chain, folder.read_clock if told is None else lambda: told)
        finally:
            chain.close()
    finally:
        folder.release()


def run(command: Callable[[], None]) -> None:
    """Run a command; mistakes of users become one line and an exit code."""
    options.guarded(command, interrupted="what was shown as done stands on the market's ledger")


def say(as_json: bool, told: dict[str, Any], text: str) -> None:
    """One JSON object, or a line for people."""
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


def labelled(data: Path | None, dataset: str | None, samples: int, seed: int) -> "Labelled":
    """A buyer's labelled images, from a file or a data set; raises ``UserError``."""
    from platoon.drivers.market.judging import draw_labelled, read_labelled

    if (data is None) == (dataset is None):
        raise UserError("your images: allowed is either --data FILE.npz or --dataset NAME")
    return read_labelled(data) if data is not None else draw_labelled(str(dataset), samples, seed)
