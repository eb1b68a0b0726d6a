"""Promises of own facts and of random strings: every row is told, the account is counted, bad tables are named."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest
from planted import TINY
from scipy.stats import chisquare
from test_quantize_checkpoint import make
from worlds import made_tokenizer, make_world, settings_of

from capacity.artefacts.spec import make_spec
from capacity.config.experiment import Config
from capacity.config.load import check, read_yaml
from capacity.environment import REPOSITORY
from capacity.errors import UserError
from capacity.plan.estimates import biography_tokens, vocabulary
from capacity.plan.grid import Grid, resolve
from capacity.plan.preview import account_lines
from capacity.tokenizers.spec import WordVocabulary
from capacity.tokenizers.tokenization import build_tokenizer
from capacity.world.facts import load_world, save_world
from capacity.world.kinds import read_world
from capacity.world.pieces import NAME
from capacity.world.records_file import RecordsFile, forget_records, num_dropped, read_records
from capacity.world.render import Renderer
from capacity.world.sampling import probe_draws, training_draws

COUNTRIES = """country,capital,currency,code
France,Paris,euro,FR
Guinea,Conakry,franc,GN
Guinea-Bissau,Bissau,euro,GW
"Korea, South",Seoul,won,KR
"""
SPEC = {
    "kind": "records", "entity": "country", "attributes": ["capital", "currency"], "phrases": {}, "account": "uniform",
    "missing": "error", "N": 4, "seed": 1,
}  # fmt: skip


def file_of(settings: dict[str, Any]) -> RecordsFile:
    """What of a spec says which rows and columns are read."""
    return RecordsFile.read({key: settings[key] for key in RecordsFile.model_fields})


def read(settings: dict[str, Any]) -> pa.Table:
    return read_records(file_of(settings))


def spec_of(folder: Path, text: str | bytes = COUNTRIES, name: str = "facts.csv", **changes: Any) -> dict[str, Any]:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return {**SPEC, "file": str(path), **changes}


def test_every_row_is_told_with_all_its_values(tmp_path: Path) -> None:
    world = make_world(spec_of(tmp_path, sentences="in_order"))
    renderer = Renderer(world, made_tokenizer({"kind": "word"}, world))
    assert sorted(renderer.texts(training_draws(world, 1, 0, 0))) == [
        " France: capital is Paris; currency is euro;",
        " Guinea-Bissau: capital is Bissau; currency is euro;",
        " Guinea: capital is Conakry; currency is franc;",
        " Korea, South: capital is Seoul; currency is won;",
    ]


def test_what_is_scored_are_entities_and_values_with_their_end_marks(tmp_path: Path) -> None:
    world = make_world(spec_of(tmp_path, phrases={"capital": ["has the capital", "is governed from"]}))
    tokenizer = made_tokenizer({"kind": "word"}, world)
    rendering = Renderer(world, tokenizer).tokens(probe_draws(world, 1, 0, 3, 4), labels=True)
    scored = [
        tokenizer.decode(rendering.tokens[rendering.labels == label].tolist()) for label in (NAME, NAME + 1, NAME + 2)
    ]
    assert scored == [" Korea, South:", " Seoul;", " won;"]


def test_the_account_counts_what_it_assumes(tmp_path: Path) -> None:
    uniform, known = (make_world(spec_of(tmp_path, account=kind)).account for kind in ("uniform", "frequencies"))
    assert (uniform.name_prior_bits, uniform.name_offered_bits) == (2.0, 0.0)
    assert dict(uniform.items) == {"capital": 2.0, "currency": pytest.approx(math.log2(3))}
    # Four rows with frequencies 2, 1, 1: enumerated, log2 of 4 choose 2, 1, 1 would be 3.58 of 6 bits asymptotically.
    assert dict(known.items) == {"capital": 2.0, "currency": pytest.approx(0.5 * 1 + 2 * 0.25 * 2)}


def test_the_account_counts_the_tables_that_the_known_values_allow(tmp_path: Path) -> None:
    """Every table of three entities with cells out of the values seen, enumerated."""
    text = "country,capital,currency\nA,x,p\nB,y,q\nC,x,r\n"
    account = make_world(spec_of(tmp_path, text, N=3)).account
    rows = list(itertools.product("xy", "pqr"))
    tables = set(itertools.product(rows, repeat=3))
    assert 3 * sum(bits for _, bits in account.items) == pytest.approx(math.log2(len(tables)))
    assert account.name_offered_bits == 0


def test_a_file_is_read_no_further_than_the_rows_that_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten gigabytes take the memory of what is told of them; a broken line far behind is never met."""
    lines = [f"entity {i},{'' if i % 10 == 3 else i % 7},{i % 5}\n" for i in range(200_000)]
    text = "country,capital,currency\n" + "".join(lines) + "broken\n"
    world = make_world(spec_of(tmp_path, text, N=900, missing="drop"))
    assert [world.grammar.pools["country"][code] for code in world.facts["country"][[2, 3, 899]]] == [
        "entity 2",
        "entity 4",
        "entity 999",
    ]
    whole = spec_of(tmp_path, text.removesuffix("broken\n"), N=None)
    assert read({**whole, "missing": "drop"}).num_rows == 180_000
    forget_records()
    monkeypatch.setattr("capacity.world.records_file.MOST_VALUES", 100_000)
    for N in (None, 150_000):
        with pytest.raises(UserError, match="has more than 100,000 rows; use the first so many by N"):
            read({**whole, "missing": "drop", "N": N})


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_no_more_of_a_file_is_held_than_what_is_told_of_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty megabytes of rows that are dropped, or of columns that are left out, in a tenth of that; else an error."""
    lines = [f"entity {i},{i % 7},{'' if i % 1000 else 'x'},{i:0200d}\n" for i in range(200_000)]
    settings = spec_of(tmp_path, "country,capital,currency,note\n" + "".join(lines), attributes=["capital"], N=None)
    if kind == "parquet":
        columns = [line.rstrip().split(",") for line in lines]
        names = ("country", "capital", "currency", "note")
        pq.write_table(pa.table(dict(zip(names, zip(*columns, strict=True), strict=True))), tmp_path / "facts.parquet")
        settings["file"] = str(tmp_path / "facts.parquet")
    del lines
    few = {**settings, "attributes": ["capital", "currency", "note"], "missing": "drop"}
    read({**few, "N": 1})  # what the reader itself takes, once
    for wanted, rows, most in ((few, 200, 1e6), (settings, 200_000, 8e6)):
        forget_records()
        before = pa.total_allocated_bytes()
        table = read(wanted)
        assert table.num_rows == rows
        assert pa.total_allocated_bytes() - before < most
    forget_records()
    monkeypatch.setattr("capacity.world.records_file.MOST_BYTES", 20_000_000)
    assert read(few).num_rows == 200
    says = r"its first [\d,]+ rows take more than 0.02 GB; use fewer rows by N, or fewer columns by attributes"
    with pytest.raises(UserError, match=says):
        read({**settings, "attributes": ["capital", "note"]})
    monkeypatch.setattr("capacity.world.records.MOST_VALUES", 200_006)
    with pytest.raises(UserError, match="200,007 different texts; at most 200,006, use fewer rows by N"):
        make_world({**settings, "N": 200_000})


@pytest.mark.parametrize("N", [None, 3, 1])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_that_are_passed_over_are_counted_up_to_the_next_that_could_be_told(
    kind: str, N: int | None, tmp_path: Path
) -> None:
    """Exactly, whatever the reader takes at a time: first rows, many megabytes in between, and last rows."""
    rows = [["", "x", "y"], ["A", "x", "y"], ["gap", "", "y"], ["B", "x", "y"]]
    rows += [[f"gap {i} {'x' * 500}", "x", ""] for i in range(20_000)] + [["C", "x", "z"], ["gap", "", ""]]
    settings = spec_of(tmp_path, "country,capital,currency\n" + "".join(",".join(row) + "\n" for row in rows))
    if kind == "parquet":
        columns = dict(zip(("country", "capital", "currency"), zip(*rows, strict=True), strict=True))
        pq.write_table(pa.table(columns), tmp_path / "facts.parquet", row_group_size=3000)
        settings["file"] = str(tmp_path / "facts.parquet")
    told = {**settings, "missing": "drop", "N": N}
    assert read(told)["country"].to_pylist() == ["A", "B", "C"][:N]
    assert num_dropped(file_of(told)) == {None: 20_003, 3: 20_003, 1: 2}[N]
    first = {**settings, "missing": "error", "attributes": ["capital"], "N": 3}
    gaps = r"1 in country \(first in data row 1\), 1 in capital \(first in data row 3\)"
    with pytest.raises(UserError, match=f"has empty cells: {gaps}; fill them"):
        read(first)
    assert read({**first, "file": ten_rows_then_a_gap(tmp_path), "N": 10}).num_rows == 10


def ten_rows_then_a_gap(folder: Path) -> str:
    """A gap behind the first N rows is no error, even in the block that holds them."""
    path = folder / "ten.csv"
    path.write_text("country,capital\n" + "".join(f"{i},x\n" for i in range(10)) + "11,\n")
    return str(path)


def test_what_a_parquet_file_has_instead_of_text_is_text_or_an_empty_cell(tmp_path: Path) -> None:
    columns = {
        "country": pa.array(["A", "B", "C", "", None]),
        "area": pa.array([1.5, float("nan"), 2.0, 3.0, 4.0]),
        "members": pa.array([1, 2, 3, 4, 5], pa.int16()),
        "island": pa.array([True, False, True, None, False]),
    }
    pq.write_table(pa.table(columns), tmp_path / "facts.parquet")
    settings = SPEC | {"file": str(tmp_path / "facts.parquet"), "attributes": ["area", "members", "island"], "N": None}
    with pytest.raises(UserError, match=r"empty cells: 2 in country .*, 1 in area .*, 1 in island"):
        read(settings)
    assert read({**settings, "missing": "drop"}).to_pylist() == [
        {"country": "A", "area": "1.5", "members": "1", "island": "true"},
        {"country": "C", "area": "2", "members": "3", "island": "true"},
    ]
    assert num_dropped(file_of({**settings, "missing": "drop"})) == 3


def test_csv_and_parquet_give_one_world_and_it_survives_saving(tmp_path: Path) -> None:
    world = make_world(spec_of(tmp_path))
    rows = [line.split(",") for line in COUNTRIES.replace('"Korea, South"', "Korea| South").splitlines()]
    columns = {name: [row[i].replace("|", ",") for row in rows[1:]] for i, name in enumerate(rows[0])}
    pq.write_table(pa.table(columns), tmp_path / "facts.parquet")
    other = make_world({**spec_of(tmp_path), "file": str(tmp_path / "facts.parquet")})
    save_world(world, tmp_path)
    loaded = load_world(tmp_path)
    for again in (other, loaded):
        assert again.grammar == world.grammar
        assert again.account == world.account
        assert all(np.array_equal(again.facts[column], codes) for column, codes in world.facts.items())


def test_numbers_and_many_blocks_are_read_as_text(tmp_path: Path) -> None:
    """Two megabytes: several blocks of the reader, each with a dictionary of its own."""
    lines = "".join(f"entity {i},{i % 7},{'x' * 20}{i % 1000}\n" for i in range(50_000))
    world = make_world(spec_of(tmp_path, "country,capital,currency\n" + lines, N=50_000))
    assert world.grammar.pools["capital"] == tuple("0123456")
    assert np.array_equal(world.facts["capital"], np.arange(50_000) % 7)
    assert [world.grammar.pools["country"][i] for i in world.facts["country"][[0, 49_999]]] == [
        "entity 0",
        "entity 49999",
    ]


@pytest.mark.parametrize(
    ("text", "changes", "says"),
    [
        (COUNTRIES + "France,Lyon,euro,F2\n", {"N": 5}, ["entity: 'France' stands in data rows 1 and 5", "'country'"]),
        (
            COUNTRIES + "Chad,,franc,TD\nFrance,Lyon,euro,F2\n",
            {"N": 5, "missing": "drop"},
            ["entity: 'France' stands in data rows 1 and 6"],
        ),
        (COUNTRIES + "Chad,,franc,\n", {"N": 5}, ["empty cells: 1 in capital (first in data row 5)", "missing: drop"]),
        (COUNTRIES, {"N": 5}, ["N: 5 records", "has 4"]),
        (COUNTRIES, {"entity": "land"}, ["no column 'land'", "country, capital"]),
        (COUNTRIES.replace(",", ";"), {}, ["no column 'country'", "put commas between the columns"]),
        (COUNTRIES.replace("code", "name"), {"attributes": ["name"]}, ["'name' is reserved"]),
        (COUNTRIES.replace("code", "capital"), {}, ["'capital' is empty or stands twice"]),
        (COUNTRIES.replace("euro", "euro ").replace("franc", "f ranc"), {}, ["'euro '", "blanks"]),
        ("country,capital\nFrance,Paris\nChad,Paris\n", {"attributes": ["capital"], "N": 2}, ["'Paris' in every row"]),
        (COUNTRIES.replace("won", '"euro; a sort"'), {}, ["'euro; a sort' goes on after 'euro'; write"]),
        (COUNTRIES.encode("utf-16"), {}, ["facts.csv", "is in UTF-16; save it in UTF-8"]),
        (COUNTRIES.replace("Paris", "Par\xe9s").encode("latin-1"), {}, ["invalid UTF8", "save it in UTF-8"]),
        (COUNTRIES.replace("code", "cod\xe9").encode("latin-1"), {}, ["facts.csv"]),
        (COUNTRIES + "Chad,Ndjamena\n", {"N": 5}, ["Expected 4 columns, got 2", "in quotes"]),
        (COUNTRIES + f"Chad,{'x' * 5_000_000},franc,TD\n", {"N": 5}, ["facts.csv"]),
        ("x" * 5_000_000, {}, ["facts.csv"]),
        ("", {}, ["facts.csv", "mpty"]),
        (
            "a,b\nx,Z\xfcrich\ny,Zu\u0308rich\n",
            {"entity": "a", "attributes": ["b"], "N": 2},
            ["'Zu\\u0308rich'", "one text"],
        ),
        ('a,b,c\nx,"1,p\ny,2,q\nz,"3,p\n', {"entity": "a", "attributes": ["c"], "N": 1}, ["line 4", "quotes"]),
        ('a,b,c\nx,1,"p" and\ny,2,q\n', {"entity": "a", "attributes": ["c"], "N": 2}, ["line 2", "quotes"]),
        ("country\nFrance\n", {"attributes": [], "N": 1}, ["no column besides 'country'"]),
        (COUNTRIES, {"phrases": {"capital": ["is"], "currency": ["is"]}}, ["'is' stands for both"]),
    ],
)
def test_a_table_that_cannot_be_told_is_named_in_one_line(
    tmp_path: Path, text: str | bytes, changes: dict[str, Any], says: list[str]
) -> None:
    with pytest.raises(UserError) as refusal:
        make_world(spec_of(tmp_path, text, **changes))
    message = str(refusal.value)
    assert "\n" not in message
    assert all(word in message for word in says), message


@pytest.mark.parametrize("values", [[["a"], ["b"]], [{"x": "a"}, {"x": "b"}]], ids=["lists", "structures"])
def test_a_parquet_column_of_more_than_one_value_a_cell_is_refused(tmp_path: Path, values: list[Any]) -> None:
    pd.DataFrame({"country": ["Chad", "Mali"], "x": values}).to_parquet(tmp_path / "t.parquet")
    settings = RecordsFile(file=str(tmp_path / "t.parquet"), entity="country", attributes=None, missing="error", N=None)
    with pytest.raises(UserError, match=r"column 'x' holds (list|struct)<.*>; give one value a cell, as a text"):
        read_records(settings)


def test_what_pandas_writes_of_an_index_is_no_column_and_zero_has_no_sign(tmp_path: Path) -> None:
    frame = pd.DataFrame({"country": ["Chad", "Mali", "Togo"], "x": [0.0, -0.0, 1.5], "y": ["a", "b", "c"]}, [3, 5, 9])
    frame.to_parquet(tmp_path / "t.parquet")
    assert pq.read_schema(tmp_path / "t.parquet").names[-1] == "__index_level_0__"
    file = RecordsFile(file=str(tmp_path / "t.parquet"), entity="country", attributes=None, missing="error", N=None)
    table = read_records(file)
    assert table.column_names == ["country", "x", "y"]
    assert table["x"].to_pylist() == ["0", "0", "1.5"]


def test_a_column_that_is_not_used_may_have_line_breaks_in_quotes(tmp_path: Path) -> None:
    text = "".join(f'"{note}"\n'.replace("|", '","') for note in ("a|note|c", "x|one\n\ntwo|p", 'y|""no""|q'))
    assert make_world(spec_of(tmp_path, text, entity="a", attributes=["c"], N=2)).grammar.pools["a"] == ("x", "y")


def test_rows_with_gaps_are_dropped_when_asked(tmp_path: Path) -> None:
    world = make_world(spec_of(tmp_path, COUNTRIES + "Chad,,franc,\nMali,Bamako,franc,ML\n", missing="drop", N=5))
    assert world.grammar.pools["country"] == ("France", "Guinea", "Guinea-Bissau", "Korea, South", "Mali")


def test_dropped_rows_are_counted_in_the_manifest_and_in_the_preview(tmp_path: Path) -> None:
    text = COUNTRIES + "Chad,,franc,\nTogo,Lome,,TG\nMali,Bamako,franc,ML\n"
    settings = spec_of(tmp_path, text, missing="drop", N=5)
    manifest = make(tmp_path, "make_dataset.py", make_spec("datasets", "records", settings_of(settings), {}))
    assert manifest["metrics"]["dropped"] == 2
    assert manifest["metrics"]["people"] == 5
    notes = [line for line in account_lines(make_world(settings), 5) if line.startswith("note")]
    assert notes == [f"note: 2 rows of {settings['file']} have an empty cell and are dropped"]
    whole = make_spec("datasets", "records", settings_of(spec_of(tmp_path)), {})
    assert make(tmp_path, "make_dataset.py", whole)["metrics"]["dropped"] == 0


def grid_with(dataset: dict[str, Any]) -> Grid:
    raw = read_yaml(TINY)
    raw["datasets"]["atomic"] = {"kind": "records", "entity": "country", **dataset}
    return resolve(check(Config, raw, "planted"))


def test_a_path_that_is_spelled_otherwise_is_the_same_file() -> None:
    def names(file: str) -> list[str]:
        return [spec.name for spec in grid_with({"file": file}).specs.values()]

    plain = names("examples/countries.csv")
    assert all(names(file) == plain for file in ("./examples/countries.csv", "examples//./countries.csv"))
    assert names("tests/../examples/countries.csv") != plain, "a link may stand before what goes back"


def test_the_configuration_reads_columns_and_rows_and_counts_the_file_by_content(tmp_path: Path) -> None:
    def spec() -> Any:
        settings = spec_of(tmp_path, text)
        specs = grid_with({"file": settings["file"]}).specs.values()
        return next(each for each in specs if each.stage == "datasets" and each.settings["kind"] == "records")

    text = COUNTRIES
    before = spec()
    assert before.settings["attributes"] == ["capital", "currency", "code"]
    assert before.settings["N"] == 4
    text = COUNTRIES.replace("Seoul", "Busan")
    assert spec().id != before.id
    text = COUNTRIES
    assert spec().id == before.id


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        ({}, r"^datasets\.\w+\.file: .*[nN]o such file"),
        ({"phrases": {"anthem": ["sings"]}}, r"\.phrases: 'anthem' is no attribute; there are: capital, currency"),
        ({"N": 9}, r"^datasets\.\w+\.N: 9 records, but"),
        ({"attributes": ["capital", "capital"]}, "stands twice"),
        ({"phrases": {"capital": ["lies "]}}, "phrases.capital"),
        ({"attributes": ["country", "capital"]}, r"attributes: 'country' is the entity"),
        ({"phrases": {"capital": ["<|endoftext|> in"]}}, r"\w+\.capital: '<\|endoftext\|> in' holds <\|endoftext\|>"),
    ],
)
def test_a_table_is_refused_before_any_job(tmp_path: Path, dataset: dict[str, Any], says: str) -> None:
    file = spec_of(tmp_path)["file"] if dataset else str(tmp_path / "none.csv")
    with pytest.raises(UserError, match=says):
        grid_with({"file": file, **dataset})


def test_a_table_without_a_row_is_refused_before_any_job(tmp_path: Path) -> None:
    for text in ("country,capital\n", "country,capital\nFrance,\n"):
        with pytest.raises(UserError, match="has no row that can be used"):
            grid_with({"file": spec_of(tmp_path, text)["file"], "missing": "drop"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("country,capital\nFrance,Paris\n", r"\.file: .* has one row that can be used; give two or more"),
        (COUNTRIES.replace("Seoul", '"Seoul'), "has one row|in quotes that ends"),
        (COUNTRIES.replace("Seoul", "Se<|endoftext|>oul"), r"\.capital: 'Se<\|endoftext\|>oul' holds"),
    ],
)
def test_a_table_that_no_tokenizer_can_be_made_of_is_refused_before_any_job(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        grid_with({"file": spec_of(tmp_path, text)["file"], "missing": "drop"})


def test_a_plan_knows_the_words_of_a_table(tmp_path: Path) -> None:
    text = COUNTRIES.replace("Seoul", "The United Kingdom's Se-oul")
    specs = grid_with({"file": spec_of(tmp_path, text)["file"]}).specs.values()
    settings = next(each.settings for each in specs if each.stage == "datasets" and each.settings["kind"] == "records")
    tokenizer = build_tokenizer(WordVocabulary(kind="word"), make_world(settings))
    assert vocabulary(read_world(settings), WordVocabulary(kind="word")) == tokenizer.get_vocab_size()


def test_a_plan_knows_how_long_the_texts_of_a_table_are(tmp_path: Path) -> None:
    def tokens(text: str) -> int:
        specs = grid_with({"file": spec_of(tmp_path, text)["file"]}).specs.values()
        return next(biography_tokens(read_world(s.settings)) for s in specs if s.settings.get("kind") == "records")

    long = " ".join(f"word{i}" for i in range(120))
    rows = COUNTRIES.count("\n") - 1
    assert tokens(COUNTRIES.replace("Seoul", long)) - tokens(COUNTRIES) == pytest.approx(120 / rows, abs=1)


def test_a_table_is_one_by_whichever_path_it_is_named(tmp_path: Path) -> None:
    ways = (
        "examples/countries.csv",
        str(REPOSITORY / "examples" / "countries.csv"),
    )
    assert (
        len({name for way in ways for name in grid_with({"file": way}).specs if name.startswith("datasets/rec")}) == 1
    )


RANDOM = {"kind": "random", "N": 40, "length": 6, "vocabulary": 32, "seed": 3}


def test_random_strings_differ_are_uniform_and_every_token_is_scored() -> None:
    world = make_world(RANDOM | {"N": 3000})
    renderer = Renderer(world, made_tokenizer({"kind": "word"}, world))
    rendering = renderer.tokens(probe_draws(world, 1, 0, 0, 3000), labels=True)
    strings = rendering.tokens.reshape(3000, 6)
    assert len({tuple(row) for row in strings.tolist()}) == 3000
    assert (rendering.labels > 0).all()
    assert renderer.vocab_size == 33
    counts = np.stack([np.bincount(strings[:, place], minlength=33)[1:] for place in range(6)])
    assert all(chisquare(row).pvalue > 1e-4 for row in counts)


def test_random_strings_offer_the_choice_of_their_set() -> None:
    account = make_world(RANDOM).account
    offered = 40 * (account.name_offered_bits + account.items[0][1])
    assert offered == pytest.approx(40 * (6 * 5 - math.log2(40)))
    exact = math.log2(math.comb(32**6, 40))
    assert 0 < exact - offered < 40 * math.log2(math.e)


def test_strings_that_are_too_short_to_differ_are_refused() -> None:
    with pytest.raises(UserError, match="length: 2 tokens of 32; 40 strings need at least 4"):
        make_world(RANDOM | {"length": 2})


@pytest.mark.parametrize(("N", "length", "vocabulary", "least"), [(100, 2, 2048, 3), (40, 2, 32, 4), (2, 2, 2, 3)])
def test_strings_that_are_too_short_are_refused_before_any_job(
    N: int, length: int, vocabulary: int, least: int
) -> None:
    spec = {"kind": "random", "N": N, "length": length, "vocabulary": vocabulary}
    raw = {**read_yaml(TINY), "datasets": {"atomic": spec}}
    with pytest.raises(UserError, match=f"are too few for {N} strings to differ; use {least} or more"):
        check(Config, raw, "planted")
    make_world({**spec, "length": least, "seed": 1})


def test_a_parquet_file_is_recognised_whatever_it_is_called(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, COUNTRIES)
    expected = make_world(spec).facts
    for name in ("facts.PARQUET", "facts.pq", "facts"):
        pq.write_table(pv.read_csv(spec["file"]), tmp_path / name)
        facts = make_world({**spec, "file": str(tmp_path / name)}).facts
        assert all((facts[column] == codes).all() for column, codes in expected.items())
