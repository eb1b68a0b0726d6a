"""Extraction in the configuration and in the table: what an option moves, what is refused, what the columns say."""

import copy
import functools
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from planted import TINY, of_stage
from test_figures import variant

from capacity.artefacts.stages import STAGES as STAGES_BY_NAME
from capacity.config.experiment import Config
from capacity.config.extractions import Extraction
from capacity.config.load import check, read_yaml
from capacity.errors import UserError
from capacity.figures.extraction_figure import plot_extraction
from capacity.models import factories
from capacity.plan.grid import Grid, resolve
from capacity.tables.extraction_columns import EXTRACTION_COLUMNS
from capacity.tables.extraction_rows import choose, extraction_columns, seed_means, tried, with_extraction
from capacity.tables.table import COLUMNS, capacity_table, read_table, write_table
from capacity.world.prior import Account

RAW = read_yaml(TINY)
LORA = {"method": "lora", "ranks": [[2, 1], [4, 2]], "lr": 0.01, "steps": 5, "batch": 4}
MIXED = {"method": "mixed", "share": 0.5}
STAGES = ("datasets", "tokenizers", "checkpoints", "variants", "probes", "questions", "finetunes", "answers", "tables")


def asking(extraction: dict[str, Any] = LORA, study: str = "base", **changes: Any) -> dict[str, Any]:
    """The tiny configuration with a study that asks; changes: dotted keys with / to values."""
    raw = copy.deepcopy(RAW)
    raw["datasets"]["atomic"]["N"] = 20
    raw["extractions"] = {"ask": copy.deepcopy(extraction)}
    raw["studies"][study]["extraction"] = "ask"
    for path, value in changes.items():
        *sections, key = path.split("/")
        functools.reduce(lambda inner, name: inner[name], sections, raw)[key] = value
    return raw


def grid_of(raw: dict[str, Any]) -> Grid:
    return resolve(check(Config, raw, "planted"))


def digests(grid: Grid, stage: str) -> set[str]:
    """Of artefacts and members of sets."""
    specs = [spec for spec in grid.specs.values() if spec.stage == stage]
    names = {spec.name for spec in specs} | {member.name for spec in specs for member in spec.members}
    return {name.rpartition("-")[2] for name in names}


def moved(new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    """Stages in which there is a new artefact."""
    one, other = grid_of(new), grid_of(old)
    return [stage for stage in STAGES if digests(one, stage) - digests(other, stage)]


ASKING = ["questions", "finetunes", "answers", "tables"]
OPTIONS = {
    "asked": (0.25, ASKING),
    "choosing": (0.4, ASKING),
    "wordings": ({"id_1": ["the id1 of {name} is"]}, ASKING),
    "ranks": ([[2, 1], [4, 4]], ASKING[1:]),
    "lr": (0.02, ASKING[1:]),
    "steps": (6, ASKING[1:]),
    "batch": (5, ASKING[1:]),
    "weight_decay": (0.0, ASKING[1:]),
    "method": ({"method": "full", "lr": 0.01, "steps": 5, "batch": 4}, ASKING),
    "share": ({"method": "mixed", "share": 0.25}, ASKING),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_of_questions_moves_what_asks_and_leaves_checkpoints_and_their_probes_alone(option: str):
    value, stages = OPTIONS[option]
    extraction = value if option in ("method", "share") else {**LORA, option: value}
    assert moved(asking(extraction), asking()) == stages


def test_every_option_of_an_extraction_is_among_those_seen_to_move_it():
    assert set(Extraction.model_fields) == set(OPTIONS)


def test_the_share_of_questions_moves_mixed_training_alone():
    assert moved(asking({**MIXED, "share": 0.25}), asking(MIXED)) == ASKING[1:]


def test_a_study_that_asks_leaves_everything_else_as_it_is_and_unused_extractions_change_nothing():
    plain = copy.deepcopy(RAW)
    plain["datasets"]["atomic"]["N"] = 20
    assert moved(asking(), plain) == ASKING
    unused = copy.deepcopy(plain)
    unused["extractions"] = {"ask": LORA}
    assert grid_of(unused).specs.keys() == grid_of(plain).specs.keys()
    assert "answers" not in grid_of(plain).table.parents


def test_a_try_that_is_added_leaves_the_others_as_they_are():
    one, two = grid_of(asking()), grid_of(asking({**LORA, "lr": [0.01, 0.02]}))
    assert digests(one, "questions") == digests(two, "questions")
    tries = [{m.id for spec in g.specs.values() if spec.stage == "finetunes" for m in spec.members} for g in (one, two)]
    assert tries[0] < tries[1]
    assert (len(tries[0]), len(tries[1])) == (4, 8)  # two checkpoints


def test_only_the_row_of_the_checkpoint_itself_is_asked():
    rows = grid_of(asking()).table.settings["rows"]
    assert {row["scheme"] for row in rows if "answers" in row} == {"none"}
    assert {row["study"] for row in rows if "answers" in row} == {"base"}
    tries = next(row for row in rows if "answers" in row)["answers"]["tries"]
    assert [(t["embedding_rank"], t["attention_rank"], t["extraction_lr"]) for t in tries] == [
        (2, 1, 0.01),
        (4, 2, 0.01),
    ]


def test_mixed_training_waits_for_no_checkpoint():
    spec = of_stage(grid_of(asking(MIXED)), "finetunes")
    assert set(spec.parents) == {"dataset", "tokenizer", "questions"}
    assert spec.members[0].settings["regime"] == of_stage(grid_of(asking()), "checkpoints").settings["regime"]


MINE = "extractions.ask"
OF_STUDY = "studies.base.extraction: ask"
STRINGS = {"kind": "random", "N": 20, "length": 8, "vocabulary": 64}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"ranks": [[9, 2]]}, f"{MINE}.ranks: 9, but models.small has width 8; use ranks up to 8"),
    ({"asked": 0.99}, f"{MINE}: asked: 0.99 and choosing: 0.2 of N: 20 people of atomic leave 0 for the test"),
    ({"asked": 0.9}, "leave 2 for the test and 0 for validation; use more people or other shares"),
    ({"wordings": {"age": ["{name} is"]}}, f"{MINE}.wordings: 'age' is no attribute of atomic; there are: id_1, id_2"),
    ({"wordings": {"id_1": ["what?"]}}, f"{MINE}.wordings.id_1"),
    ({"wordings": {"id_1": ["of ({name})"]}}, f"{MINE}.wordings.id_1"),
    ({"wordings": {"id_1": ["{name} is. {name} has"]}}, "a wording with 2 places for the name; give one"),
    ({"wordings": {"id_1": ["of {name}:"], "id_2": ["of {name}:"]}}, "two attributes are asked for in the same words"),
    (
        {"wordings": {"id_1": ["What is the id2 of {name}? Answer:"]}},
        f"{MINE}.wordings: 'id_1' and 'id_2' of atomic are both asked for by 'What is the id2 of {{name}}? Answer:'",
    ),
    (
        {"wordings": {"id_1": ["{name}s id is"]}},
        "begins with the place for the name and has a blank or a mark behind it",
    ),
    ({"wordings": {"id_1": ["who?"]}}, "a wording with 0 places for the name; give one"),
    ({"wordings": {"id_1": ["{name}{name} has"]}}, "a wording with 2 places for the name; give one"),
    ({"share": 0.5}, "share: 0.5 with method: lora; remove share"),
    ({"ranks": [[2, 1]], "choosing": 0.3}, "choosing: 0.3 with one try, where nothing is chosen; remove choosing"),
    ({"ranks": None}, "ranks: missing; method: lora needs ranks"),
    ({"steps": None}, "steps: missing; method: lora needs steps"),
    ({"method": "full"}, "ranks: [[2, 1], [4, 2]] with method: full; remove ranks"),
    ({"method": "mixed"}, "lr: 0.01 with method: mixed, which takes those of the run's regime; remove lr"),
    ({"/datasets/atomic/N": 5}, f"{MINE}.asked: 0.5 of N: 5 people of atomic are 2, fewer than the 3 wordings"),
    ({"/datasets/atomic": STRINGS}, f"{OF_STUDY}, but atomic is of kind random, which has no attributes to ask for"),
    ({"/studies/base/quantizers": ["int8"]}, f"{OF_STUDY} with quantizers: int8; it asks the checkpoint itself"),
    ({"/studies/base/extraction": "aks"}, "studies.base.extraction: 'aks' is not in extractions; there are: ask"),
    (
        {"/extractions/ask": MIXED, "/datasets/atomic/junk": {"people": 9}},
        f"{MINE}.method: mixed with atomic, which has",
    ),
    ({"/models/small": {"python": "own_models:make"}}, f"{MINE}.method: lora with models.small, a factory; use method"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=lambda value: str(value)[:50])
def test_what_cannot_be_asked_is_one_line_before_any_job(changes: dict[str, Any], message: str, monkeypatch):
    monkeypatch.setattr(factories, "REPOSITORY", Path(__file__).parents[1])
    own = {key: value for key, value in changes.items() if not key.startswith("/")}
    others = {key[1:]: value for key, value in changes.items() if key.startswith("/")}
    with pytest.raises(UserError) as refused:
        grid_of(asking({**LORA, **own}, **others))
    text = str(refused.value)
    assert message in text
    assert "\n" not in text


def test_a_rank_as_large_as_the_width_is_allowed():
    grid_of(asking({**LORA, "ranks": [[8, 8]]}))


# --- the table

N, ATTRIBUTES = 8, ("city", "major")
ACCOUNT = Account(10.0, 7.0, [("city", 3.0), ("gender", 1.0), ("major", 2.0)], {})


def probe_scores() -> pd.DataFrame:
    """People 0 to 5 know their city, nobody a major; every value of a known one costs nothing, of others its prior."""
    items = ["name", "city", "gender", "major"]
    rows = [(person, item) for person in range(N) for item in items]
    exact = [float(item == "city" and person < 6) for person, item in rows]
    prior = dict(ACCOUNT.items) | {"name": 10.0}
    nats = [0.0 if right else prior[item] * math.log(2) for right, (_, item) in zip(exact, rows, strict=True)]
    table = pd.DataFrame(rows, columns=["person", "item"])
    return table.assign(
        nats=nats, nats_name_only=nats, first_chunk_nats=np.nan, first_chunk_nats_name_only=np.nan, exact=exact
    )


def answers_of(people: range, right: dict[int, str]) -> pd.DataFrame:
    """Two wordings an attribute; right: person -> attributes that are answered, the first wording only of `half`."""
    rows = [(p, a, w) for p in people for a in ATTRIBUTES for w in range(2)]
    exact = [a in right.get(p, "") and not ("half" in right.get(p, "") and w) for p, a, w in rows]
    prior = dict(ACCOUNT.items)
    nats = [0.0 if e else prior[a] * math.log(2) for e, (_, a, _) in zip(exact, rows, strict=True)]
    frame = pd.DataFrame(rows, columns=["person", "attribute", "wording"])
    return frame.assign(said="", exact=exact, first_token=exact, nats=nats)


def test_a_try_counts_each_attribute_once_however_many_wordings_ask_for_it(tmp_path: Path):
    """As what is extractable does: else first tokens were right less often than whole answers."""
    answers = answers_of(range(4), {0: "city major", 1: "city", 2: "city", 3: "city"})
    answers = answers[(answers["attribute"] == "major") | (answers["wording"] == 0)]  # one wording of the city
    for name in ("asked", "choosing", "held_out", "memorised"):
        answers.to_parquet(tmp_path / f"{name}.parquet")
    row = tried({"embedding_rank": 8, "attention_rank": 2, "extraction_lr": 0.1, "answers_id": "a"}, tmp_path)
    assert row["choosing_exact"] == row["held_out_exact"] == row["held_out_first_token"] == pytest.approx(5 / 8)


def test_people_shares_and_bits_are_those_of_planted_answers():
    held_out = answers_of(range(4), {0: "city major", 1: "city", 2: "city half"})
    attempt = {"embedding_rank": 8, "attention_rank": 2, "extraction_lr": 0.1, "answers_id": "a",
               "held_out_first_token": 0.5, "memorised_after": 0.25}  # fmt: skip
    row = extraction_columns(attempt, held_out, probe_scores(), ACCOUNT, P=10, num_resamples=200)
    assert set(row) == set(EXTRACTION_COLUMNS) - {"extraction"}
    assert row["memorised"] == 6 / 16  # 6 of 8 cities, no major, gender is not asked
    assert row["people_memorised"] == 3
    assert row["extractable"] == pytest.approx((1 + 0.5 + 0.25 + 0) / 4)
    assert row["people_extractable"] == pytest.approx(8 * 1.75 / 4)
    assert 0 <= row["people_extractable_low"] < row["people_extractable"] < row["people_extractable_high"] <= 8
    assert row["bits_memorised"] == pytest.approx(6 * 3.0)
    assert row["bits_extractable"] == pytest.approx(8 * ((3 + 2) + 3 + 1.5 + 0) / 4)
    assert row["R_extractable"] == row["bits_extractable"] / 10


def test_a_model_that_answers_everything_holds_all_people_and_one_that_answers_half_holds_half():
    attempt = {"embedding_rank": None, "attention_rank": None, "extraction_lr": None, "answers_id": "a",
               "held_out_first_token": 1.0, "memorised_after": 1.0}  # fmt: skip
    for right, people in ((dict.fromkeys(range(4), "city major"), 8), (dict.fromkeys(range(4), "city"), 4), ({}, 0)):
        row = extraction_columns(attempt, answers_of(range(4), right), probe_scores(), ACCOUNT, 10, 100)
        assert row["people_extractable"] == row["people_extractable_low"] == row["people_extractable_high"] == people


def test_the_try_that_the_choosing_people_prefer_is_chosen_and_the_lower_loss_of_equals(tmp_path: Path):
    tries = []
    for name, choosing, held_out in (
        ("a", {0: "city"}, {2: "city major"}),
        ("b", {0: "city", 1: "city"}, {}),
        ("c", {0: "city major"}, {2: "city"}),
    ):
        folder = tmp_path / name
        folder.mkdir()
        for group, people, right in (("choosing", range(2), choosing), ("held_out", range(2, 4), held_out)):
            answers_of(people, right).to_parquet(folder / f"{group}.parquet")
        pd.DataFrame({"exact": [1.0, 0.0]}).to_parquet(folder / "memorised.parquet")
        attempt = {"embedding_rank": 1, "attention_rank": 1, "extraction_lr": 0.1, "answers_id": name}
        tries.append(tried(attempt, folder))
    assert [t["choosing_exact"] for t in tries] == [0.25, 0.5, 0.5]
    assert [t["held_out_exact"] for t in tries] == [0.5, 0.0, 0.25]
    assert tries[0]["memorised_after"] == 0.5
    assert math.isnan(tries[0]["asked_exact"])
    assert choose(tries) == 1  # as many answers as c, and cities cost more than majors
    assert choose(tries[:1]) == 0


def test_a_table_without_extraction_is_written_as_before_and_one_with_it_is_read_again(tmp_path: Path):
    plain = capacity_table([dict.fromkeys(read_table_columns(), None) | {"R": 1.0} for _ in range(2)])
    assert with_extraction(plain, [None, None]) is plain
    asked = dict.fromkeys(EXTRACTION_COLUMNS, 0.5) | {"extraction": "ask", "answers_id": "x"}
    table = with_extraction(plain, [None, asked])
    write_table(table, tmp_path / "table.csv")
    again = read_table(tmp_path / "table.csv")
    assert list(again.columns) == [*plain.columns, *EXTRACTION_COLUMNS]
    assert again["extraction"].tolist() == ["", "ask"]
    assert again["extractable"].isna().tolist() == [True, False]
    assert re.search(r"(^|,)0\.5,", (tmp_path / "table.csv").read_text(), re.M)


def read_table_columns() -> list[str]:
    return [column for column in COLUMNS if column != "chosen"]


def planted_study() -> pd.DataFrame:
    """Two worlds at two numbers of people, three seeds each; the second world cannot be asked."""
    cells = [(p, n, seed) for p in ("None", "1") for n in (100, 200) for seed in (1, 2, 3)]
    plain = capacity_table(
        [
            variant(1.0, N=n, seed=seed, R_max=n / 100, setting=f"dataset.N={n} dataset.paragraphs={p}")
            for p, n, seed in cells
        ]
    )
    asked = [
        dict.fromkeys(EXTRACTION_COLUMNS, 0.5)
        | {
            "extraction": "ask",
            "answers_id": "x",
            "memorised": 0.8,
            "extractable": 0.4 + 0.1 * seed if p == "None" else 0.0,
        }
        for p, _, seed in cells
    ]
    return with_extraction(plain, asked)


def test_means_over_seeds_keep_worlds_apart_and_have_students_interval():
    means = seed_means(planted_study())
    assert means["series"].tolist() == ["paragraphs=null"] * 2 + ["paragraphs=1"] * 2
    assert means["R_max"].tolist() == [1, 2, 1, 2]
    assert means["extractable"].tolist() == pytest.approx([0.6, 0.6, 0, 0])
    half = 4.302653 * 0.1 / math.sqrt(3)  # Student's t of two degrees of freedom
    assert means["extractable_low"].tolist()[:2] == pytest.approx([0.6 - half] * 2)
    assert means["ratio"].tolist()[:2] == pytest.approx([0.75] * 2)


def test_a_ratio_that_one_seed_has_not_is_none():
    """Nothing was memorised there; a mean over the others would not be of as many seeds as the row says."""
    table = planted_study()
    means = seed_means(table.assign(memorised=table["memorised"].where(table["seed"] != 2, 0.0)))
    assert means["ratio"].isna().all()
    assert means["memorised"].notna().all()


@pytest.mark.parametrize(
    "other",
    [{"model": "m2"}, {"regime": "r2", "exposures": 7}, {"tokenizer": "t2"}, {"setting": " regime.betas=[0.9,0.98]"}],
)
def test_what_is_no_seed_of_a_cell_is_a_cell_of_its_own(other: dict[str, Any]):
    first = planted_study()
    setting = first["setting"] + other.get("setting", "")
    second = first.assign(**other | {"setting": setting}, extractable=0.25)
    means = seed_means(pd.concat([first, second], ignore_index=True))
    assert means["seeds"].eq(3).all()
    assert means["series"].nunique() == 4
    assert sorted(means["extractable"].round(6).unique()) == [0, 0.25, 0.6]


def test_rates_that_were_not_chosen_are_in_no_mean_of_an_extraction():
    table = planted_study()
    other = table.assign(chosen=False, extractable=1.0, lr=0.5)
    pd.testing.assert_frame_equal(seed_means(pd.concat([table, other])), seed_means(table))


def test_the_figure_of_an_extraction_shows_both_shares_and_is_left_out_where_nothing_is_asked(tmp_path, monkeypatch):
    table = planted_study()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        plot_extraction(table, "base", tmp_path / name)
    for file in ("extraction-base.png", "extraction-base.svg"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: figures.append(figure))
    plot_extraction(table, "base", tmp_path)
    lines = [line for line in figures[0].axes[0].lines if len(line.get_xdata()) == 2]
    assert [list(line.get_ydata()) for line in lines] == [
        pytest.approx(y) for y in ([0.8, 0.8], [0.6, 0.6], [0.8, 0.8], [0.0, 0.0])
    ]
    figures.clear()
    plot_extraction(table.drop(columns=list(EXTRACTION_COLUMNS)), "base", tmp_path)
    assert not figures


def test_a_column_that_is_called_as_the_place_for_the_name_is_refused(tmp_path: Path):
    (tmp_path / "t.csv").write_text("e,the {name},b\n" + "".join(f"n{i},{i % 7},{i % 5}\n" for i in range(20)))
    records = {"kind": "records", "file": str(tmp_path / "t.csv"), "entity": "e"}
    with pytest.raises(UserError, match=r"'the \{name\}' of atomic is asked for by .*; give it wordings of its own"):
        grid_of(asking(**{"datasets/atomic": records}))


@pytest.mark.parametrize("optimizer", ["adamw", "schedule-free"])
def test_a_mixed_training_rests_on_the_packages_that_the_training_itself_does(monkeypatch, optimizer: str):
    monkeypatch.setattr("capacity.plan.training_specs.imported_packages", lambda factory: ("pillow",))
    own = {"python": "examples.architectures.gru:make", "settings": {}}
    grid = grid_of(asking(MIXED, **{"models/small": own, "regimes/long/optimizer": optimizer}))
    trained, (mixed, *_) = of_stage(grid, "checkpoints", "e2"), of_stage(grid, "finetunes", "e2").members
    assert mixed.packages.keys() - {"peft"} == trained.packages.keys() >= {"pillow"}
    stage = STAGES_BY_NAME["finetunes"]
    assert mixed.packages.keys() - {"pillow"} <= {*stage.packages, *stage.further}
