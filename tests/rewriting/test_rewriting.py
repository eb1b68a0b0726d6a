"""Promises of rewriting: every text checked, mistakes counted, work kept, rewriters that fail said in one line."""

import contextlib
import http.server
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerFast
from worlds import FULL_BIOS, SMALL_BIOS, make_world, world_of

from capacity.errors import UserError
from capacity.rewriting import endpoint
from capacity.rewriting.check import Checker
from capacity.rewriting.paraphrase import ParaphrasingGrammar
from capacity.rewriting.prompts import prompt
from capacity.rewriting.rewrite import KEPT, REWRITERS, Writing, rewrite_world
from capacity.rewriting.spec import EndpointRewriter, ModelRewriter, RewritingSettings
from capacity.world.facts import World

TWO = SMALL_BIOS | {"N": 2}


def spec_of(world: World, **changes: Any) -> RewritingSettings:
    settings = {"kind": "bioR", "N": world.N, "seed": world.seed, "rewritings": 3, "flawed": "resample", "files": {}}
    settings |= {"rewriter": {"kind": "grammar", "corruption": 0.0}} | changes
    return RewritingSettings.read({"tries": 1 if settings["flawed"] == "keep" else 4} | settings)


def grammar(corruption: float) -> dict[str, Any]:
    return {"kind": "grammar", "corruption": corruption}


# --- the check


ANNA = {
    "first_name": "James", "middle_name": "Ann", "last_name": "Smith", "birth_month": "May", "birth_day": "2",
    "birth_year": "1996", "birth_city": "Boston, MA", "university": "Yale", "major": "Biology",
    "employer": "Apple", "gender": "She",
}  # fmt: skip
GOOD = "James Ann Smith was born on May 2, 1996 in Boston, MA. She studied Biology at Yale and works at Apple."
POOLS = {
    "first_name": ["James", "Mary"], "middle_name": ["Ann", "Lee"], "last_name": ["Smith", "Jones"],
    "birth_month": ["May", "March"], "birth_day": ["2", "22"], "birth_year": ["1996", "2006"],
    "birth_city": ["Boston, MA", "Austin, TX"], "university": ["Yale", "Yale School of Music", "Duke"],
    "major": ["Biology", "Music"], "employer": ["Apple", "Apple Bank"], "gender": ["He", "She"],
}  # fmt: skip


def people_of(pools: dict[str, list[str]]) -> tuple[Checker, dict[str, int]]:
    """A checker over given pools, and the codes of ANNA."""
    plain = world_of(SMALL_BIOS).grammar
    by_column = {
        slot.column: slot.pool for attribute in plain.attributes if attribute.is_item for slot in attribute.slots
    }
    by_column |= {slot.column: slot.pool for slot in plain.name} | {"gender": "pronouns"}
    mine = {by_column[column]: tuple(values) for column, values in pools.items()}
    grammar = replace(plain, pools={**plain.pools, **mine, "working_cities": ("Bern",) * len(pools["employer"])})
    return Checker(grammar), {column: pools[column].index(value) for column, value in ANNA.items()}


@pytest.mark.parametrize(
    ("text", "flaws"),
    [
        (GOOD, {}),
        (GOOD.replace("She", "Smith") + " Her work counts.", {}),
        (GOOD.replace("Apple.", "Apple's lab."), {}),
        (GOOD.replace("May 2, 1996", "2 May 1996"), {"birth_date": "missing"}),
        (GOOD.replace("May 2,", "May 22,"), {"birth_date": "wrong"}),
        (GOOD.replace("1996", "19960"), {"birth_date": "missing"}),
        (GOOD.replace("Boston, MA", "Austin, TX"), {"birth_city": "wrong"}),
        (GOOD + " She left Austin, TX.", {"birth_city": "wrong"}),
        (GOOD.replace("Apple.", "Apple Bank."), {"employer": "wrong"}),
        (GOOD.replace("Apple.", "Snapple."), {"employer": "missing"}),
        (GOOD.replace("Apple.", "Apple-Works."), {"employer": "missing"}),
        (GOOD.replace("Biology", "Music"), {"major": "wrong"}),
        (GOOD.replace("Biology at Yale", "at Yale School of Music"), {"university": "wrong", "major": "missing"}),
        (GOOD.replace("She", "He"), {"gender": "wrong"}),
        (GOOD + " His dog is old.", {"gender": "wrong"}),
        (GOOD.replace("She", "Smith"), {"gender": "missing"}),
        (GOOD.replace("James Ann Smith", "James Smith"), {"name": "missing"}),
        (GOOD.replace("James Ann Smith", "Mary Ann Smith"), {"name": "wrong"}),
        (GOOD + " Mary Lee Jones agrees.", {"name": "wrong"}),
        ("Seven crows: " + GOOD, {"name": "wrong"}),  # words of one text alone would tell the name, and are not scored
        ("\n" + GOOD, {}),
    ],
)
def test_what_a_text_misses_or_tells_wrongly_is_found(text: str, flaws: dict[str, str]) -> None:
    checker, codes = people_of(POOLS)
    checked = checker.check(text, codes)
    assert checked.flaws == flaws
    if "name" in flaws:
        assert checked.marks == []
        return
    told = {checker.items[label - 1]: text[start:stop] for label, start, stop in checked.marks}
    assert told.keys() == set(checker.items) - flaws.keys()
    values = {"name": "James Ann Smith", "birth_date": "May 2, 1996"} | ANNA
    for item, words in told.items():
        assert words.strip() == values[item] or (item == "gender" and words.strip() in ("She", "Her"))


def test_a_fact_is_scored_where_it_first_stands_with_the_words_that_gave_a_part_of_it_away() -> None:
    checker, codes = people_of(POOLS)
    text = "James Ann Smith, born in May, on May 2, 1996, in Boston, MA, left Boston, MA. " + GOOD
    marks = [
        (checker.items[label - 1], text[start:stop].strip()) for label, start, stop in checker.check(text, codes).marks
    ]
    assert marks[:5] == [
        ("name", "James Ann Smith"),
        ("birth_date", "May"),
        ("birth_date", "May 2, 1996"),
        ("birth_city", "Boston, MA"),
        ("gender", "She"),
    ]
    assert [start for _, start, _ in checker.check(text, codes).marks] == sorted(
        {s for _, s, _ in checker.check(text, codes).marks}
    )


def test_a_word_that_gives_a_city_away_tells_no_gender() -> None:
    """MS of Jackson, MS, which reads as a title too: marked twice, its loss would count for somebody else."""
    checker, codes = people_of(POOLS | {"birth_city": ["Boston, MA", "Jackson, MS"]})
    codes |= {"birth_city": 1}
    text = "James Ann Smith holds an MS. " + GOOD.replace("Boston, MA", "Jackson, MS")
    marks = checker.check(text, codes).marks
    assert [(checker.items[label - 1], text[start:stop].strip()) for label, start, stop in marks][:3] == [
        ("name", "James Ann Smith"),
        ("birth_city", "MS"),
        ("birth_date", "May 2, 1996"),
    ]
    assert ("gender", "She") in [(checker.items[label - 1], text[start:stop].strip()) for label, start, stop in marks]
    assert all(stop <= start for (_, _, stop), (_, start, _) in pairwise(marks))


def test_a_value_of_two_attributes_is_refused_since_one_could_stand_for_the_other() -> None:
    with pytest.raises(UserError, match="'Yale' is both university and employer"):
        people_of(POOLS | {"employer": ["Apple", "Yale"]})


@pytest.mark.parametrize("settings", [FULL_BIOS, SMALL_BIOS], ids=["full", "small"])
def test_every_shipped_template_and_value_passes_the_check(settings: dict, tmp_path: Path) -> None:
    world = make_world(settings | {"N": 150})
    _, counts = rewrite_world(world, spec_of(world), tmp_path)
    assert counts == {
        "texts": 450, "asked": 450, "flaws_at_first": {"flawed": 0}, "flaws_kept": {"flawed": 0}, "facts_never_told": 0
    }  # fmt: skip


# --- the offline rewriter


def test_corruption_is_as_stated_and_every_corrupted_fact_is_found(tmp_path: Path) -> None:
    world = make_world(SMALL_BIOS | {"N": 300})
    rewritten, counts = rewrite_world(world, spec_of(world, rewriter=grammar(0.2), flawed="keep"), tmp_path)
    flaws = counts["flaws_kept"]
    for item in ("name", "birth_date", "birth_city", "university", "major", "employer", "gender"):
        for flaw in ("missing", "wrong"):
            assert binomtest(flaws[f"{item}: {flaw}"], 900, 0.1).pvalue > 1e-4, (item, flaw)
    assert binomtest(flaws["flawed"], 900, 1 - 0.8**7).pvalue > 1e-4
    assert flaws == counts["flaws_at_first"]
    assert counts["asked"] == 900
    assert rewritten.rewritings
    assert counts["facts_never_told"] > 0


def test_resampling_keeps_the_best_of_all_tries_and_counts_what_was_asked(tmp_path: Path) -> None:
    world = make_world(SMALL_BIOS | {"N": 200})
    kept, told = {}, {}
    for tries in (1, 2, 8):
        rewritten, counts = rewrite_world(
            world, spec_of(world, rewriter=grammar(0.1), tries=tries), tmp_path / str(tries)
        )
        kept[tries] = counts["flaws_kept"]["flawed"]
        assert counts["flaws_at_first"]["flawed"] == kept[1]
        assert rewritten.rewritings
        marks = [rewritten.rewritings.marks(row, row + 1)[1]["labels"] for row in range(600)]
        told[tries] = np.array([len(set(labels.tolist())) for labels in marks])
        assert (counts["asked"] == 600) == (tries == 1)
    assert binomtest(kept[1], 600, 1 - 0.9**7).pvalue > 1e-4
    assert binomtest(kept[8], 600, (1 - 0.9**7) ** 8).pvalue > 1e-4
    assert kept[8] < kept[2] < kept[1]
    assert (told[1] <= told[2]).all()
    assert (told[2] <= told[8]).all()


def test_a_job_that_was_killed_goes_on_and_ends_with_the_same_texts(tmp_path: Path) -> None:
    world = make_world(SMALL_BIOS | {"N": 60})
    settings = spec_of(world, rewriter=grammar(0.1))
    whole, counts = rewrite_world(world, settings, tmp_path / "whole")
    assert whole.rewritings
    lines = (tmp_path / "whole" / KEPT).read_text().splitlines(keepends=True)
    assert len(lines) == 3  # of 64 texts
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / KEPT).write_text(lines[0] + lines[1][:50])
    again, counts_again = rewrite_world(world, settings, tmp_path / "part")
    assert again.rewritings
    assert again.rewritings.table.equals(whole.rewritings.table)
    assert counts_again == counts
    lines[0] = lines[0].replace(" was ", " WAS ")
    (tmp_path / "part" / KEPT).write_text(lines[0])  # what is kept is used, not asked for again
    third, _ = rewrite_world(world, settings, tmp_path / "part")
    assert third.rewritings
    assert any(" WAS " in text for text in third.rewritings.texts(slice(0, 64)))


@pytest.mark.parametrize("order", [(0, 0, 1, 2), (0, 1, 1, 2, 2), (1, 0, 2), (0, 2)])
def test_batches_that_two_processes_left_are_used_in_order_and_once(tmp_path: Path, order: tuple[int, ...]) -> None:
    world = make_world(SMALL_BIOS | {"N": 60})
    settings = spec_of(world, rewriter=grammar(0.1))
    whole, counts = rewrite_world(world, settings, tmp_path / "whole")
    lines = (tmp_path / "whole" / KEPT).read_text().splitlines(keepends=True)
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / KEPT).write_text("".join(lines[number] for number in order) + '{"bat{"batch": 1}\n')
    again, counts_again = rewrite_world(world, settings, tmp_path / "part")
    assert whole.rewritings
    assert again.rewritings
    assert again.rewritings.table.equals(whole.rewritings.table)
    assert counts_again == counts


# --- a language model


def biography(world: World, person: int, number: int) -> str:
    """What an able rewriter answers to a prompt."""
    return answer_to(prompt(world, person, number, 40))


def answer_to(text: str) -> str:
    name, pronoun = re.search(r"Begin with the full name, (.+?), and say (\w+) from then on", text).groups()  # type: ignore[union-attr]
    facts = text.splitlines()[1].split("The person")[1:]
    return name + pronoun.join(f"{fact.rstrip()} " if fact else "" for fact in facts)


def learn_by_heart(model: PreTrainedModel, rows: list[tuple[torch.Tensor, torch.Tensor]], steps: int) -> None:
    """Train a model on some rows of token ids and labels, all of them in every step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = sum(model(input_ids=ids, labels=labels).loss for ids, labels in rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GPT-2 that learned by heart the answers to the four prompts of two people."""
    folder = tmp_path_factory.mktemp("checkpoint")
    world = make_world(TWO)
    pairs = [
        (f"{prompt(world, person, number, 40)}\nBiography:", f" {biography(world, person, number)} <end>")
        for person in range(2)
        for number in range(2)
    ]
    words = sorted({word for pair in pairs for word in "".join(pair).split()} - {"<end>"})
    raw = Tokenizer(models.WordLevel({word: index for index, word in enumerate(["<end>", *words])}, unk_token="<end>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>", pad_token="<end>")
    torch.manual_seed(0)
    size = {"n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 256, "vocab_size": len(words) + 1}
    rates = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    model = GPT2LMHeadModel(GPT2Config(**size, **rates, eos_token_id=0, bos_token_id=0))
    rows = [torch.tensor([tokenizer(a + b)["input_ids"]]) for a, b in pairs]
    learn_by_heart(model, [(row, row) for row in rows], 60)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def local(folder: Path, **changes: Any) -> dict[str, Any]:
    settings = {"kind": "model", "model": str(folder), "revision": None, "batch": 3, "words": 40, "max_tokens": 90}
    return settings | {"temperature": 0.1, "top_p": 0.9, "accelerator": "cpu", "precision": "fp32"} | changes


def test_a_local_causal_lm_rewrites_in_batches_and_equal_orders_give_equal_texts(
    checkpoint: Path, tmp_path: Path
) -> None:
    world = make_world(TWO)
    settings = spec_of(world, rewriter=local(checkpoint), rewritings=2)
    first, counts = rewrite_world(world, settings, tmp_path / "a")
    assert first.rewritings
    assert counts["flaws_kept"] == {"flawed": 0}
    assert first.rewritings.texts(slice(None)) == [
        f" {biography(world, p, n)}".rstrip() for p in (0, 1) for n in (0, 1)
    ]
    (tmp_path / "b").mkdir()
    line = (tmp_path / "a" / KEPT).read_text().splitlines(keepends=True)[0]
    (tmp_path / "b" / KEPT).write_text(line)
    again, _ = rewrite_world(world, settings, tmp_path / "b")
    assert again.rewritings
    assert again.rewritings.table.equals(first.rewritings.table)


def test_sampling_differs_between_attempts_and_not_between_runs(checkpoint: Path) -> None:
    world = make_world(TWO)
    writers = [Writing(world, spec_of(world, rewriter=local(checkpoint, temperature=2.0, top_p=1.0))) for _ in range(2)]
    texts = [writer.rewriter.write([(0, 0), (1, 1)], attempt) for writer in writers for attempt in (0, 1)]
    assert texts[0] == texts[2] != texts[1] == texts[3]


def test_a_model_that_is_not_there_or_tells_nothing_is_one_line(checkpoint: Path, tmp_path: Path) -> None:
    world = make_world(TWO)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"rewriter\.model: .*empty") as error:
        Writing(world, spec_of(world, rewriter=local(tmp_path / "empty")))
    assert "\n" not in str(error.value)
    model = GPT2LMHeadModel.from_pretrained(checkpoint)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    model.save_pretrained(tmp_path / "zero")
    PreTrainedTokenizerFast.from_pretrained(checkpoint).save_pretrained(tmp_path / "zero")
    garbage = spec_of(world, rewriter=local(tmp_path / "zero", max_tokens=3))
    with pytest.raises(UserError, match="none of 6 texts mentions a single fact of its person") as error:
        rewrite_world(world, garbage, tmp_path / "kept")
    assert "\n" not in str(error.value)


class Mumbler:
    """A rewriter of which only some texts, by place, are what was asked for."""

    def __init__(self, world: World, able: set[int], W: int):
        self.world, self.able, self.W = world, able, W

    def write(self, asks: list[tuple[int, int]], attempt: int) -> list[str]:
        return [biography(self.world, p, n) if p * self.W + n in self.able else "Lorem ipsum." for p, n in asks]


def mumbled(monkeypatch: pytest.MonkeyPatch, able: set[int], folder: Path, N: int = 60) -> dict[str, Any]:
    """Counts of a rewriting, a text a batch, by a rewriter that is able at some places only."""
    monkeypatch.setitem(REWRITERS, ModelRewriter, lambda settings, world, seed: Mumbler(world, able, 3))
    world = make_world(SMALL_BIOS | {"N": N})
    return rewrite_world(world, spec_of(world, rewriter=local(folder, batch=1), flawed="keep"), folder)[1]


def test_single_texts_that_tell_nothing_are_counted_and_end_no_job(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counts = mumbled(monkeypatch, set(range(63, 117)), tmp_path)  # the first 63 of 180 and the last 63 are not
    assert counts["texts"] == counts["asked"] == 180
    assert counts["flaws_kept"]["flawed"] == counts["flaws_kept"]["name: missing"] == 126
    assert counts["facts_never_told"] == 42 * 7


@pytest.mark.parametrize("able", [set(), set(range(64, 180)), set(range(20)) | set(range(90, 180))])
def test_a_rewriter_that_tells_nothing_so_often_in_a_row_is_given_up_and_asked_again_later(
    able: set[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"none of 64 texts mentions .* begins 'Lorem ipsum\.'"):
        mumbled(monkeypatch, able, tmp_path)
    assert len((tmp_path / KEPT).read_text().splitlines()) == len(able & set(range(20)))
    assert mumbled(monkeypatch, set(range(180)), tmp_path)["flaws_kept"] == {"flawed": 0}


def test_of_few_texts_one_that_tells_something_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert mumbled(monkeypatch, {2}, tmp_path / "one", N=2)["flaws_kept"]["flawed"] == 5
    with pytest.raises(UserError, match="none of 6 texts"):
        mumbled(monkeypatch, set(), tmp_path / "none", N=2)


def test_what_no_text_can_hold_is_mended_before_it_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Half a character, and the mark that ends a text, with what follows it."""
    world = make_world(TWO)
    texts = iter([biography(world, 0, 0) + " \ud800", *(f"{biography(world, p, n)}<|endoftext|>More" for p, n in
                  [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2)])])  # fmt: skip
    monkeypatch.setattr(ParaphrasingGrammar, "write", lambda self, asks, attempt: [next(texts) for _ in asks])
    rewritten, counts = rewrite_world(world, spec_of(world, flawed="keep"), tmp_path)
    assert rewritten.rewritings
    kept = rewritten.rewritings.texts(slice(None))
    assert kept[0].endswith(" ?")
    assert not any("More" in text for text in kept)
    assert counts["flaws_kept"] == {"flawed": 0}


# --- an endpoint


class Server(http.server.ThreadingHTTPServer):
    """A chat endpoint that answers in the manner that a test asks for."""

    daemon_threads = True
    manner = "able"
    asked: list[dict[str, Any]]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(request | {"path": self.path, "key": self.headers.get("Authorization")})
        manner = self.server.manner
        if manner == "moody":
            manner = "busy" if len(self.server.asked) % 2 else "able"
        if manner == "silent":
            time.sleep(30)
        status = {"busy": 503, "refuses": 401, "leads away": 302}.get(manner, 200)
        text = "I cannot help with that." if manner == "idle" else answer_to(request["messages"][0]["content"])
        body = json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()
        if manner == "page":
            body = b"<html>Not what you think</html>"
        if manner == "deep":
            body = b"[" * 200_000
        if manner == "long":
            body = json.dumps({"choices": [{"message": {"content": "so " * 10_000}}]}).encode()
        self.send_response(status)
        if manner == "leads away":
            self.send_header("Location", f"http://localhost:{self.server.server_port}/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for place in range(0, len(body), 10 if manner == "drips" else len(body)):
            if manner == "drips":
                time.sleep(0.2)
            self.wfile.write(body[place : place + (10 if manner == "drips" else len(body))])
            self.wfile.flush()

    def handle(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # who asked has gone away
            super().handle()

    def log_message(self, *words: Any) -> None:
        """Nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(endpoint, "PAUSE", 0.01)
    it = Server(("127.0.0.1", 0), Handler)
    it.asked = []
    thread = threading.Thread(target=it.serve_forever, daemon=True)
    thread.start()
    yield it
    it.shutdown()
    it.server_close()


def remote(server: Server, **changes: Any) -> dict[str, Any]:
    settings = {"kind": "endpoint", "url": f"http://127.0.0.1:{server.server_port}/v1", "model": "m", "parallel": 4}
    return settings | {"timeout": 5.0, "words": 40, "max_tokens": 200, "temperature": 0.8} | changes


@pytest.mark.parametrize("manner", ["able", "moody"])
def test_an_endpoint_is_asked_for_each_text_with_the_facts_and_a_seed(
    server: Server, manner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(endpoint.KEY, "secret")
    server.manner = manner
    world = make_world(SMALL_BIOS | {"N": 3})
    rewritten, counts = rewrite_world(world, spec_of(world, rewriter=remote(server, parallel=1)), tmp_path)
    assert rewritten.rewritings
    assert rewritten.rewritings.texts(slice(None)) == [
        f" {biography(world, p, n)}".rstrip() for p in range(3) for n in range(3)
    ]
    assert counts["flaws_kept"] == {"flawed": 0}
    assert {request["path"] for request in server.asked} == {"/v1/chat/completions"}
    assert {request["key"] for request in server.asked} == {"Bearer secret"}
    assert len({request["seed"] for request in server.asked}) == 9
    assert len(server.asked) == (9 if manner == "able" else 18)


@pytest.mark.parametrize(
    ("manner", "says", "requests"),
    [
        (
            "idle",
            r"none of 6 texts mentions a single fact of its person; the first begins 'I cannot help with that\.'",
            6 * 4,
        ),
        ("page", "'<html>Not what you think</html>' is no chat completion", None),
        ("refuses", "HTTP 401", None),
        ("leads away", "HTTP 302", None),
        ("deep", "is no chat completion", None),
        ("long", "a text of 30,000 characters; it does not keep to max_tokens: 200", None),
        ("busy", "HTTP 503", None),
        ("silent", "no whole answer in 0.5 s|timed out", None),
        ("drips", "no whole answer in 0.5 s|timed out", None),
    ],
)
def test_an_endpoint_that_does_not_serve_is_one_line_in_good_time(
    server: Server, manner: str, says: str, requests: int | None, tmp_path: Path
) -> None:
    server.manner = manner
    world = make_world(TWO)
    started = time.monotonic()
    with pytest.raises(UserError, match=says) as error:
        rewrite_world(world, spec_of(world, rewriter=remote(server, timeout=0.5)), tmp_path)
    assert time.monotonic() - started < 10
    assert "\n" not in str(error.value)
    assert requests is None or len(server.asked) == requests


def test_an_endpoint_that_is_not_there_is_one_line(server: Server, tmp_path: Path) -> None:
    settings = remote(server)
    server.shutdown()
    server.server_close()
    world = make_world(TWO)
    with pytest.raises(UserError, match=r"rewriter\.url: http://127.0.0.1:\d+/v1/chat/completions: .*refused"):
        rewrite_world(world, spec_of(world, rewriter=settings), tmp_path)


def test_texts_that_came_before_an_endpoint_fell_silent_are_kept(server: Server, tmp_path: Path) -> None:
    world = make_world(SMALL_BIOS | {"N": 30})
    settings = spec_of(world, rewriter=remote(server))
    writing = Writing(world, settings)
    (tmp_path / KEPT).write_text(json.dumps(writing.batch(0)) + "\n")
    server.manner = "refuses"
    with pytest.raises(UserError, match="texts so far are kept"):
        rewrite_world(world, settings, tmp_path)
    server.manner, before = "able", len(server.asked)
    rewritten, _ = rewrite_world(world, settings, tmp_path)
    assert rewritten.rewritings
    assert len(rewritten.rewritings) == 90
    assert len(server.asked) - before == 90 - 64


def test_prompts_tell_every_fact_once_and_differ_between_texts() -> None:
    world = world_of(SMALL_BIOS)
    texts = [prompt(world, 5, number, 40) for number in range(8)]
    assert len(set(texts)) == 8
    values = [
        world.grammar.pools[pool][world.facts[column][5]]
        for column, pool in (("birth_city", "cities"), ("major", "majors"))
    ]
    assert all(text.count(value) == 1 for text in texts for value in values)
    assert np.all([len(text.splitlines()) == 2 for text in texts])


@pytest.mark.parametrize("name", [("Mary", "Ann"), ("Mary Ann", "Lee"), ("Mary", "Lee")])
def test_a_name_whose_first_part_begins_another_is_recognised(name: tuple[str, str]) -> None:
    """Mary Ann Fox is Mary, Ann, Fox: nobody here is Mary Ann without a middle name."""
    pools = {"first_name": ["James", "Mary", "Mary Ann"], "middle_name": ["Ann", "Lee"], "last_name": ["Smith", "Fox"]}
    checker, codes = people_of(POOLS | pools)
    codes |= {"first_name": pools["first_name"].index(name[0]), "middle_name": pools["middle_name"].index(name[1])}
    checked = checker.check(GOOD.replace("James Ann Smith", f"{' '.join(name)} Fox"), codes | {"last_name": 1})
    assert checked.flaws == {}


def ask_once(server: Server, **changes: Any) -> None:
    settings = EndpointRewriter.model_validate(remote(server, **changes))
    endpoint.EndpointClient(settings, make_world(TWO), 1).write([(0, 0)], 0)


@pytest.mark.parametrize("key", ["secret\n", " secret"])
def test_a_key_is_sent_without_the_blanks_around_it(server: Server, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(endpoint.KEY, key)
    server.manner = "able"
    ask_once(server)
    assert [request["key"] for request in server.asked] == ["Bearer secret"]


@pytest.mark.parametrize("key", ["sec\nret", "secret\u2019"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(
    server: Server, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(endpoint.KEY, key)
    with pytest.raises(UserError, match="REWRITER_API_KEY: has characters that no key has") as caught:
        ask_once(server)
    assert "sec" not in str(caught.value)
    assert server.asked == []


@pytest.mark.parametrize(
    "url", ["http://[bad/v1", "http://x..y/v1", f"http://{'x' * 70}.org/v1", "http://127.0.0.1:9/v1\u00e9"]
)
def test_an_address_that_cannot_be_asked_is_one_line(server: Server, url: str) -> None:
    with pytest.raises(UserError, match=r"^rewriter\.url: http://.*see that it serves") as caught:
        ask_once(server, url=url)
    assert "\n" not in str(caught.value)
