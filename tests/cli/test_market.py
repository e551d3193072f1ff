"""``platoon market`` from founding to rating, and what users get wrong."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from platoon.cli.main import app
from platoon.drivers.store import encode
from platoon.learning.aggregation import quantise
from platoon.learning.models import FlatModel, initial_weights

SHAPE, CLASSES = (12, 12, 1), 3


def call(*arguments):
    return CliRunner().invoke(app, ["market", *map(str, arguments)])


def done(*arguments):
    """What a command says in JSON."""
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(result, *words):
    """One line with these words on standard error, nothing else, exit code 2."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("platoon: ")
    for word in words:
        assert word in line


@pytest.fixture
def files(tmp_path):
    """Two models that were never trained, a description of them, and a buyer's images."""
    for seed in (1, 2):
        weights = initial_weights("mlp", SHAPE, CLASSES, seed)
        assert weights.size == FlatModel("mlp", SHAPE, CLASSES).size
        (tmp_path / f"{seed}.safetensors").write_bytes(encode(quantise(weights)))
    said = {"labels": ["a", "b", "c"], "accuracy": 0.5, "architecture": "mlp", "inputs": SHAPE}
    (tmp_path / "said.json").write_text(json.dumps(said))
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (40, *SHAPE), dtype=np.uint8)
    labels = np.arange(40) % CLASSES
    np.savez(tmp_path / "own.npz", images=images, labels=labels, names=np.array(["a", "b", "c"]))
    return tmp_path


@pytest.fixture
def market(files):
    folder = files / "market"
    done("open", folder)
    for name in ("alice", "bob", "carol"):
        done("join", folder, name, "--at", 1)
    return folder


def publish(market, files, number, name, *more, at=2):
    said = ["--like", files / "said.json", "--price", 0.5, "--threshold", 0.4, "--at", at]
    return done("publish", market, "--as", name, "--model", files / f"{number}.safetensors", *said, *more)


def test_an_auction_from_listing_to_rating(market, files):
    publish(market, files, 1, "alice", "--exclusive", "--task", "three letters")
    publish(market, files, 2, "bob", "--exclusive", "--task", "three letters")
    found = done("search", market, "--task", "letters", "--at", 3)["listings"]
    assert [row["seller"] for row in found] == ["alice", "bob"]
    judged = done("judge", market, "--data", files / "own.npz", "--at", 3)
    assert len(judged["same_labels"]) == 2
    opened = done("auction", market, 1, 2, "--bidding", 10, "--revealing", 10, "--at", 4)
    assert opened["listings"] == [1, 2]
    bid = done("bid", market, 1, "--as", "carol", "--amounts", "1.9,0.1", "--at", 5)
    assert bid["deposit"] == 2.0
    done("reveal", market, 1, "--as", "carol", "--at", 16)
    settled = done("settle", market, 1, "--at", 27)
    assert settled["awards"][0]["listings"] == [1]
    assert 0.5 <= settled["revenue"] < 1.9
    done("deliver", market, 1, "--at", 28)
    out = files / "bought.safetensors"
    done("collect", market, 1, "--as", "carol", "--out", out, "--at", 29)
    assert out.read_bytes() == (files / "1.safetensors").read_bytes()
    rated = done("rate", market, 1, "--as", "carol", "--data", files / "own.npz", "--at", 30)
    assert rated["positive"] == (rated["accuracy"] >= 0.4)
    told = done("history", market)
    assert told["trades"][0]["state"] == "settled"
    assert sum(row["tokens"] for row in told["traders"]) == 300
    verified = done("verify", market)
    assert (verified["verified"], verified["models"], verified["auctions"]) == (True, 2, 1)


def test_a_licence_that_was_never_delivered(market, files):
    publish(market, files, 1, "alice")
    done("buy", market, 1, "--as", "carol", "--at", 3)
    assert done("expire", market, 1, "--at", 3700)["state"] == "refunded"
    menu = done("menu", market, 1, "--prices", "0.6", "--at", 3701)["menu"]
    assert done("buy", market, 1, "--as", "bob", "--menu", menu, "--at", 3702)["paid"] == 0.6


def test_a_cheat_is_disputed_and_decided(market, files):
    publish(market, files, 1, "alice")
    done("buy", market, 1, "--as", "carol", "--at", 3)
    done("deliver", market, 1, "--model", files / "2.safetensors", "--at", 4)
    out = files / "bought.safetensors"
    refused(
        call("collect", market, 1, "--as", "carol", "--out", out, "--at", 5), "another model than was bought"
    )
    assert not out.exists()
    assert done("decide", market, 1, "--at", 6) == {"trade": 1, "good": False}


def test_a_referee_is_appointed_by_the_operator_once(market):
    assert done("appoint", market, "carol") == {"referee": "carol"}
    refused(call("appoint", market, "carol"), "appoint:")


def test_reputations_as_a_buyer_sees_them(market, files):
    """Carol was served well once: whichever logic, she thinks better of alice than of a stranger."""
    publish(market, files, 1, "alice")
    publish(market, files, 2, "bob")
    done("buy", market, 1, "--as", "carol", "--at", 3)
    done("deliver", market, 1, "--at", 4)
    done("collect", market, 1, "--as", "carol", "--out", files / "got", "--at", 5)
    done("rate", market, 1, "--as", "carol", "--accuracy", 1, "--at", 6)
    found = {}
    for by in ("market", "integrated", "subjective"):
        rows = done("search", market, "--by", by, "--as", "carol", "--at", 7)["listings"]
        found[by] = {row["seller"]: row["reputation"] for row in rows}
        assert found[by]["alice"] > found[by]["bob"] == 0.5
    assert found["integrated"]["alice"] == 1.0
    # Kang: belief (1 - u) = .9, and half of the uncertainty .1
    assert found["subjective"]["alice"] == pytest.approx(0.95, abs=1e-5)
    refused(call("search", market, "--by", "subjective"), "--as says whose")
    refused(call("search", market, "--by", "subjectiv"), "did you mean 'subjective'")


def test_tables_for_people(market, files):
    publish(market, files, 1, "alice", "--task", "three letters")
    assert "three letters" in call("search", market).output
    assert "Caution: " in call("judge", market, "--data", files / "own.npz").output
    done("buy", market, 1, "--as", "carol", "--at", 3)
    assert "Trades.Opened" in call("history", market).output
    assert "in order" in call("verify", market).output
    assert "Nothing that is for sale fits." in call("search", market, "--task", "moon").output


def test_invalid_input(market, files):
    publish(market, files, 1, "alice")
    said = ("--price", 0.5, "--threshold", 0.4)
    model, like = ("--model", files / "2.safetensors"), ("--like", files / "said.json")
    refused(call("open", market), "something already")
    refused(call("search", files / "nowhere"), "no market")
    refused(call("join", market, "alice"), "takes part already")
    refused(call("join", market, "Al ice"), "no name")
    refused(call("publish", market, "--as", "alise", *model, *like, *said), "did you mean 'alice'")
    refused(call("publish", market, "--as", "alice", *said), "--run DIR")
    refused(call("publish", market, "--as", "alice", *model, *said), "--like")
    refused(call("publish", market, "--as", "alice", *model, *like, "--price", -1, "--threshold", 0.4), "-1")
    refused(call("publish", market, "--as", "alice", *model, *like, "--price", 1, "--threshold", 2), "0 to 1")
    refused(call("publish", market, "--as", "alice", *model, *like, *said, "--place", "north"), "X,Y")
    refused(call("publish", market, "--as", "alice", *model, *like, *said, "--task", "a\x1b[2J"), "printable")
    refused(call("buy", market, 9, "--as", "carol"), "listing 9", "1 to 1")
    refused(call("auction", market, 1, "--network", "none"), "not exclusive")
    refused(call("auction", market, 1, "--network", "r7"), "r7")
    refused(call("bid", market, 1, "--as", "carol", "--amounts", "1"), "auction 1: there is none")
    refused(call("bid", market, 1, "--as", "carol", "--amounts", "much"), "amounts by comma")
    refused(call("rate", market, 1, "--as", "carol", "--accuracy", 1), "trade 1: there is none")
    refused(call("judge", market), "--data")
    refused(call("judge", market, "--data", files / "said.json"), "an .npz file")
    refused(call("search", market, "--near", "1,2"), "both, or neither")
    refused(call("open", files / "b", "--opinions", "indirect"), "did you mean 'direct'")
    refused(call("open", files / "b", "--weights", "0,0,0"), "nothing would count")
    refused(call("open", files / "b", "--weights", "1"), "three shares")
    refused(call("menu", market, 1, "--prices", "1,2"), "a price for each number")
    refused(call("publish", market, "--as", "alice", *model, *like, *said, "--usage", "x" * 201), "printable")


@pytest.mark.parametrize("value", ["inf", "nan", "1e30"])
def test_invalid_numbers(market, files, value):
    """None of them may reach the ledger: a block of such a time could never be read again."""
    model = ("--model", files / "1.safetensors", "--like", files / "said.json", "--threshold", 0.4)
    refused(call("publish", market, "--as", "alice", *model, "--price", value), "allowed")
    refused(call("publish", market, "--as", "alice", *model, "--price", 1, "--at", value), "allowed")
    refused(call("search", market, "--most-price", value), "allowed")
    refused(call("open", files / "another", "--patience", value), "allowed")
    assert not (files / "another").exists()
    publish(market, files, 1, "alice", "--exclusive")
    refused(call("auction", market, 1, "--network", "none", "--bidding", value), "allowed")
    refused(call("auction", market, 1, "--network", "none", "--scale", value), "allowed")
    assert done("verify", market)["models"] == 1


def test_what_sellers_write_is_nobodys_markup(market, files):
    publish(market, files, 1, "alice", "--task", "[/foo] [link=x]y[/link]")
    assert "[/foo]" in call("search", market).output


def test_invalid_files_of_images(market, files):
    publish(market, files, 1, "alice")
    (files / "empty.npz").write_bytes(b"")
    (files / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
    np.save(files / "array.npy", np.zeros(3))
    for name in ("empty.npz", "bad.npz", "array.npy", "nowhere.npz"):
        refused(call("judge", market, "--data", files / name), name)


def test_a_model_that_cannot_be_kept_is_not_paid(market, files):
    publish(market, files, 1, "alice")
    done("buy", market, 1, "--as", "carol", "--at", 3)
    done("deliver", market, 1, "--at", 4)
    refused(
        call("collect", market, 1, "--as", "carol", "--out", files / "no" / "such", "--at", 5), "cannot be"
    )
    refused(
        call("collect", market, 1, "--as", "carol", "--out", files / "1.safetensors", "--at", 5), "already"
    )
    assert done("history", market)["trades"][0]["state"] == "delivered"
    assert done("collect", market, 1, "--as", "carol", "--out", files / "got", "--at", 5)["paid"] == 0.5
    assert done("collect", market, 1, "--as", "carol", "--out", files / "again", "--at", 6)["bytes"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda said: said | {"colour": 1}, "colour"),
        (lambda said: {"labels": said["labels"]}, "accuracy"),
        (lambda said: said | {"accuracy": "high"}, "high"),
        (lambda said: [said], "one JSON object"),
    ],
)
def test_invalid_description(market, files, change, word):
    said = json.loads((files / "said.json").read_text())
    (files / "said.json").write_text(json.dumps(change(said)))
    model = ("--model", files / "1.safetensors", "--like", files / "said.json")
    refused(call("publish", market, "--as", "alice", *model, "--price", 1, "--threshold", 0.5), word)


def test_a_poisoned_model_is_refused(market, files):
    content = (files / "1.safetensors").read_bytes()
    like = ("--like", files / "said.json", "--price", 1, "--threshold", 0.5)
    for poisoned in (b"\x80\x02pickle", content[:-4], (2**40).to_bytes(8, "little") + content[8:]):
        (files / "bad.safetensors").write_bytes(poisoned)
        refused(
            call("publish", market, "--as", "alice", "--model", files / "bad.safetensors", *like), "refused"
        )


def test_models_of_other_label_spaces_are_not_run_as_the_buyers(market, files):
    publish(market, files, 1, "alice")
    with np.load(files / "own.npz") as own:
        np.savez(
            files / "other.npz", images=own["images"], labels=own["labels"], names=np.array(["x", "y", "z"])
        )
        np.savez(files / "wide.npz", images=own["images"][:, :, :8], labels=own["labels"])
    judged = done("judge", market, "--data", files / "other.npz")
    assert judged["same_labels"] == []
    assert "the images are" in done("judge", market, "--data", files / "wide.npz")["refused"]["1"]
    done("buy", market, 1, "--as", "carol", "--at", 3)
    done("deliver", market, 1, "--at", 4)
    done("collect", market, 1, "--as", "carol", "--out", files / "got", "--at", 5)
    refused(call("rate", market, 1, "--as", "carol", "--data", files / "other.npz"), "labels are not those")
