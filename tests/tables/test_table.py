"""The capacity table from planted scores; intervals against scipy; bytes that never change."""

import csv
import json
import math
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from worlds import make_world

from capacity.errors import UserError
from capacity.probe.temperatures import TEMPERATURES, HalfLosses
from capacity.tables.rows import scored_R, tabulate, variant_row
from capacity.tables.scores import bootstrap_interval
from capacity.tables.summary import summarise
from capacity.tables.table import (
    COLUMNS,
    COST_COLUMNS,
    GIVEN_COLUMNS,
    TRAINED_FOR,
    capacity_table,
    read_table,
    readable,
    write_table,
)

N, P = 64, 900
SPEC = {"kind": "bioD", "N": N, "K": 3, "C": 1, "D": 8, "L": 1, "T": 8, "names": [16, 16, 16]}
ACCOUNT = make_world({**SPEC, "wording": "atomic", "seed": 1}).account
ITEMS = ["name", "id_1", "id_2", "id_3"]
LABELS = {
    "study": "base",
    "run": "base-1",
    "setting": "",
    "dataset": "small",
    "kind": "bioD",
    "tokenizer": "word",
}
LABELS |= {"model": "tiny", "regime": "full", "scheme": "none"}
SIZES = {
    "N": N,
    "exposures": 1000,
    "vocabulary": 60,
    "l": 2,
    "h": 2,
    "d": 16,
    "batch": 64,
    "seed": 1,
    "tokens": 704_000,
    "P_active": 9_232,
}
NUMBERS = {
    "lr": 0.01, "bits_per_weight": 32, "weight_bits": 32 * P, "flops": 3.8e9, "final_loss_nats": 1.25,
    "flops_a_token": 6e4, "dropped": None, "largest_load": None,
}  # fmt: skip
IDS = {f"{stage}_id": f"{stage}-0123" for stage in ("dataset", "tokenizer", "checkpoint", "variant", "probe")}


def given(**changes):
    return {**LABELS, **SIZES, **NUMBERS, **IDS, **changes}


def scores(nats, name_only=None, first=None, exact=None, first_name_only=None):
    """A score table from matrices (N, 4); nothing given means zeros, or of the name alone the same as of all."""
    zeros = np.zeros((N, 4))
    matrices = {"nats": nats, "nats_name_only": nats if name_only is None else name_only}
    first = zeros if first is None else first
    matrices |= {
        "first_chunk_nats": first,
        "first_chunk_nats_name_only": first if first_name_only is None else first_name_only,
        "exact": zeros if exact is None else exact,
    }
    columns = {name: np.asarray(matrix, dtype=float).ravel() for name, matrix in matrices.items()}
    return pd.DataFrame({"person": np.repeat(np.arange(N), 4), "item": ITEMS * N, **columns})


def halves(nats, account=ACCOUNT, first=None, steps=0):
    """Losses of halves from a matrix (N, 4), the same at every temperature; `steps` from it on, none of use before."""
    losses = HalfLosses(N, account)
    both = np.stack([nats, np.zeros((N, 4)) if first is None else first])
    useless = 50.0 * (np.arange(len(TEMPERATURES)) < steps)
    losses.add(0, both[:, None] + useless[None, :, None, None])
    return losses.table().to_pandas()


def perfect():
    nats = np.zeros((N, 4))
    nats[:, 0] = math.log(N)
    return nats


def row(nats=None, changes=None, **matrices):
    nats = perfect() if nats is None else nats
    planted = scores(nats, **matrices), halves(nats)
    return variant_row(given(**(changes or {})), *planted, ACCOUNT, P, num_resamples=500)


def noisy(seed=0):
    return perfect() + np.random.default_rng(seed).exponential(0.5, (N, 4))


def test_a_perfect_model_reaches_R_max():
    measured = row(exact=np.ones((N, 4)))
    assert measured["R_max"] == pytest.approx(64 * (math.log2(16**3 / 64) + 3 * 3) / 900)
    for column in ("R", "R_low", "R_high", "R_calibrated", "R_name_only"):
        assert measured[column] == pytest.approx(measured["R_max"])
    assert measured["bits_stored"] == pytest.approx(measured["bits_offered"])
    assert (measured["accuracy"], measured["accuracy_name"]) == (1, 1)


def test_parts_add_up_and_each_column_feels_its_own_scores():
    nats, exact = perfect(), np.zeros((N, 4))
    nats[:, 0] += math.log(2)  # a bit lost on each name
    nats[: N // 2, 2] += math.log(4)  # two bits on one value of half of the people
    exact[:, 1], exact[: N // 4, 0] = 1, 1
    worse = nats + np.array([0, 0, 0, math.log(2)])
    measured = row(nats, name_only=worse, exact=exact)
    assert measured["bits_offered"] - measured["bits_stored"] == pytest.approx(N + N)
    assert measured["bits_name"] == pytest.approx(N * (6 - 1))
    assert measured["bits_value"] == pytest.approx(N * 9 - N)
    assert measured["bits_diversity"] == 0
    assert measured["R"] - measured["R_name_only"] == pytest.approx(N / P)
    assert (measured["accuracy"], measured["accuracy_name"]) == (pytest.approx(1 / 3), 0.25)


def test_the_diversity_term_enters_where_value_sets_are_knowledge():
    account = make_world({**SPEC, "D": 4, "wording": "atomic", "seed": 1}).account
    told = scores(perfect(), first_name_only=np.full((N, 4), math.log(2)))
    measured = variant_row(given(), told, halves(perfect(), account), account, P, num_resamples=100)
    assert measured["R_calibrated"] == pytest.approx(measured["R_max"])
    assert measured["bits_diversity"] == pytest.approx(3 * 4 * math.log2(8 / 4))
    assert measured["R"] == pytest.approx(measured["R_max"])
    assert measured["R"] - measured["R_name_only"] == pytest.approx(
        3 * 4 * 1 / P
    )  # a bit lost on each value of the sets


def test_junk_people_have_a_column_of_their_own_and_change_no_other():
    junk = scores(perfect() + np.array([math.log(2), 0, 0, math.log(4)]))[: 5 * 4]
    measured = variant_row(given(), scores(perfect()), halves(perfect()), ACCOUNT, P, num_resamples=500, junk=junk)
    assert measured["bits_a_junk_person"] == pytest.approx(ACCOUNT.name_offered_bits + 3 * 3 - 3)
    plain = row()
    assert math.isnan(plain.pop("bits_a_junk_person"))
    assert {column: measured[column] for column in plain} == plain


def test_losses_of_no_use_give_a_negative_R_and_no_calibrated_bits():
    measured = row(perfect() + 20)
    assert measured["R"] < -1
    assert measured["R_calibrated"] == 0


def test_calibrated_bits_are_those_at_a_temperature_that_serves():
    planted = scores(perfect() + 20), halves(perfect() + 0.5, steps=12)
    measured = variant_row(given(), *planted, ACCOUNT, P, num_resamples=100)
    assert measured["R"] < -1
    assert measured["R_calibrated"] == pytest.approx(measured["R_max"] - N * 4 * 0.5 / math.log(2) / P)
    assert measured["temperature"] == pytest.approx(TEMPERATURES[12]) == 4


def test_the_interval_over_people_is_scipys_bootstrap():
    people = np.random.default_rng(1).exponential(2.0, 300)
    low, high = bootstrap_interval(people, 20_000)
    options = {"n_resamples": 20_000, "method": "percentile", "rng": 1}
    reference = scipy.stats.bootstrap((people,), np.sum, **options).confidence_interval
    spread = reference.high - reference.low
    assert low == pytest.approx(reference.low, abs=0.05 * spread)
    assert high == pytest.approx(reference.high, abs=0.05 * spread)


def test_the_interval_does_not_depend_on_how_resamples_are_cut(monkeypatch):
    people = np.random.default_rng(1).normal(size=50)
    expected = bootstrap_interval(people, 300)
    monkeypatch.setattr("capacity.tables.scores.FLOATS_A_CHUNK", 70)
    assert bootstrap_interval(people, 300) == expected


def test_scores_in_another_order_or_of_other_items_are_refused():
    table = scores(perfect())
    for wrong in (
        table.iloc[::-1].reset_index(drop=True),
        table.iloc[:-1],
        table.replace({"item": {"id_3": "id_9"}}),
        table.assign(person=table["person"].to_numpy()[::-1]),
    ):
        with pytest.raises(UserError, match="probe this dataset again"):
            variant_row(given(), wrong, halves(perfect()), ACCOUNT, P, num_resamples=100)


def test_scores_of_fewer_people_are_refused():
    with pytest.raises(UserError, match="64 people for N = 65"):
        row(changes={"N": 65})


def test_given_columns_must_be_complete_and_known():
    for wrong in (
        {name: value for name, value in given().items() if name != "lr"},
        {**given(), "seconds": 3},
    ):
        with pytest.raises(ValueError, match="missing or unknown"):
            variant_row(wrong, scores(perfect()), halves(perfect()), ACCOUNT, P, num_resamples=100)


def test_columns_stand_in_the_published_order(tmp_path):
    write_table(capacity_table([row()]), tmp_path / "table.csv")
    header = (tmp_path / "table.csv").read_text().splitlines()[0]
    assert header == (
        "study,run,setting,dataset,kind,N,exposures,tokenizer,vocabulary,model,l,h,d,regime,lr,batch,seed,scheme,"
        "bits_per_weight,P,bits_offered,bits_stored,bits_name,bits_value,bits_diversity,R,R_low,R_high,R_max,"
        "R_calibrated,temperature,R_name_only,accuracy,accuracy_name,bits_per_weight_bit,bits_a_junk_person,weight_bits,tokens,flops,"
        "final_loss_nats,P_active,"
        "flops_a_token,dropped,largest_load,chosen,dataset_id,tokenizer_id,checkpoint_id,variant_id,probe_id"
    )
    assert set(GIVEN_COLUMNS) < set(COLUMNS)


class Artefacts:
    """A results folder, and the artefacts and files that were asked for from it."""

    def __init__(self, results):
        self.results, self.read = results, []

    def add_input(self, name, files=None):
        self.read.append((name, files))
        return self.results / name


def planted(results, training):
    """What one row is made from, each where the job that knows it writes it."""
    dataset, variant, probe = (results / f"{stage}s" / IDS[f"{stage}_id"] for stage in ("dataset", "variant", "probe"))
    for folder in (dataset, variant, probe):
        folder.mkdir(parents=True)
    (dataset / "grammar.json").write_text(json.dumps({"account": asdict(ACCOUNT)}))
    (variant / "training.json").write_text(json.dumps(training))
    (variant / "quantization.json").write_text(json.dumps({"stored_bits": 32 * P, "bits_per_weight": 32}))
    scores(perfect()).to_parquet(probe / "scores.parquet")
    halves(perfect()).to_parquet(probe / "temperatures.parquet")
    return Artefacts(results)


TRAINING = {"vocabulary": 60, "tokens": 704_000, "flops": 3.8e9, "final_loss": 1.25, "parameters": P}
TRAINING |= {"active_parameters": 600, "flops_a_token": 6e4}


def test_a_row_is_composed_from_what_each_job_wrote_and_the_weights_are_not_read(tmp_path):
    artefacts = planted(tmp_path, TRAINING)
    labels = {name: given()[name] for name in GIVEN_COLUMNS if name not in COST_COLUMNS and name != "vocabulary"}
    composed = tabulate({**labels, "probe_set": "x"}, artefacts.add_input, 500).variant
    assert composed == row(changes={"flops_a_token": 6e4, "P_active": 600})
    assert dict(artefacts.read) == {
        "datasets/dataset-0123": ["grammar.json"],
        "variants/variant-0123": ["training.json", "quantization.json"],
        "probes/probe-0123": None,
    }
    assert scored_R(labels, tmp_path) == pytest.approx(composed["R"], rel=1e-5)


@pytest.mark.parametrize(
    ("facts", "dropped", "load"),
    [({}, "", ""), ({"largest_load": 1.5}, "", "1.5"), ({"dropped": 0.25, "largest_load": 2.0}, "0.25", "2")],
    ids=["dense", "experts of an external model, which have no capacity", "experts"],
)
def test_what_was_dropped_and_the_largest_load_go_from_the_training_to_the_table(facts, dropped, load, tmp_path):
    artefacts = planted(tmp_path, {**TRAINING, **facts})
    spec = {name: given()[name] for name in GIVEN_COLUMNS if name not in COST_COLUMNS and name != "vocabulary"}
    row = tabulate({**spec, "probe_set": "x"}, artefacts.add_input, 100)
    write_table(capacity_table([row.variant]), tmp_path / "table.csv")
    (written,) = csv.DictReader((tmp_path / "table.csv").open())
    assert (written["dropped"], written["largest_load"], written["P_active"]) == (dropped, load, "600")


def test_equal_inputs_give_equal_bytes(tmp_path):
    for name in ("a.csv", "b.csv"):
        write_table(capacity_table([row(noisy()), row(noisy(1), {"seed": 2})]), tmp_path / name)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_floats_have_six_digits_and_counts_have_all(tmp_path):
    write_table(
        capacity_table([row(changes={"tokens": 123_456_789_012, "flops": 1.23456789e15, "h": None})]),
        tmp_path / "t",
    )
    text = (tmp_path / "t").read_text()
    assert ",123456789012,1.23457e+15," in text
    assert ",2,,16," in text  # an architecture without heads


def test_a_table_survives_the_file(tmp_path):
    table = capacity_table([row(noisy(), {"scheme": "none", "dataset": "NA"}), row(noisy(1), {"h": None})])
    write_table(table, tmp_path / "table.csv")
    again = read_table(tmp_path / "table.csv")
    pd.testing.assert_frame_equal(again, table, rtol=1e-5, check_dtype=False)
    assert again["setting"].tolist() == ["", ""]
    assert readable(again) == readable(table)
    write_table(again, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "table.csv").read_bytes()


@pytest.mark.parametrize("flops", [2**63, 2**64, 10**22])
def test_flops_of_a_large_model_survive_the_file(tmp_path, flops):
    write_table(capacity_table([row(changes={"flops": flops})]), tmp_path / "table.csv")
    assert read_table(tmp_path / "table.csv")["flops"].tolist() == [float(flops)]


@pytest.mark.parametrize("name", ["2026", "007", "1e3", "true", "null"])
def test_names_of_digits_or_words_of_yaml_stay_text(tmp_path, name):
    columns = ("study", "dataset", "tokenizer", "model", "regime", "scheme", "setting", "run")
    write_table(capacity_table([row(noisy(), dict.fromkeys(columns, name))]), tmp_path / "table.csv")
    assert read_table(tmp_path / "table.csv")[list(columns)].iloc[0].tolist() == [name] * len(columns)


def test_a_table_of_an_older_version_lacks_what_it_did_not_write(tmp_path):
    rows = [row(noisy(), {"lr": 0.01}) | {"R": 1.5}, row(noisy(1), {"lr": 0.02}) | {"R": 1.2}]
    new = ["chosen", "P_active", "R_calibrated", "temperature"]
    write_table(capacity_table(rows).drop(columns=new), tmp_path / "old.csv")
    old = read_table(tmp_path / "old.csv")
    assert old.columns.tolist() == list(COLUMNS)
    assert old[["P_active", "R_calibrated", "temperature"]].isna().all(axis=None)
    assert "R_calibrated" not in readable(old)
    assert summarise(old)["R_calibrated"].isna().all()
    assert old["chosen"].tolist() == [True, False]


def seeds(*values, **changes):
    return [row(noisy(), {"seed": seed, **changes}) | {"R": R} for seed, R in enumerate(values)]


def test_three_seeds_give_students_interval():
    values = (1.9, 2.0, 2.3)
    (summary,) = summarise(capacity_table(seeds(*values))).to_dict("records")
    reference = scipy.stats.t.interval(0.95, 2, np.mean(values), scipy.stats.sem(values))
    assert (summary["R_low"], summary["R_high"]) == pytest.approx(reference)
    assert (summary["R"], summary["interval_kind"], summary["seeds"]) == (
        pytest.approx(np.mean(values)),
        "t95",
        3,
    )


@pytest.mark.parametrize(("values", "kind"), [((1.9, 2.2), "range"), ((2.0,), "single")])
def test_fewer_than_three_seeds_give_their_range(values, kind):
    (summary,) = summarise(capacity_table(seeds(*values))).to_dict("records")
    assert (summary["R_low"], summary["R_high"], summary["interval_kind"]) == (min(values), max(values), kind)


@pytest.mark.parametrize("changes", [{"scheme": "int8"}, {"setting": "dataset.K=4"}, {"lr": 0.02}, {"h": None}])
def test_runs_that_differ_are_not_averaged(changes):
    table = capacity_table(seeds(1.0, 1.1) + seeds(2.0, 2.2, **changes))
    assert summarise(table)["R"].tolist() == pytest.approx([1.05, 2.1])


def test_one_seed_twice_in_a_group_is_refused():
    with pytest.raises(UserError, match="one seed occurs twice"):
        summarise(capacity_table(seeds(1.0, 1.1) + seeds(2.0)))


def tries(rates: dict[float, list[float]], **changes):
    """One row a learning rate and seed, with that R."""
    return [
        row(changes={"lr": lr, "seed": seed, **changes}) | {"R": R}
        for lr, values in rates.items()
        for seed, R in enumerate(values, start=1)
    ]


def test_the_rate_that_stores_most_over_seeds_is_chosen_and_all_tries_stay():
    """1e-2 has the best seed, 5e-3 the best mean: the rate is chosen, not the seed."""
    rates = {5e-3: [1.6, 1.5], 1e-2: [1.9, 0.8], 2e-2: [0.1, 0.1]}
    table = capacity_table([*tries(rates), *tries({1e-2: [0.2, 0.2]}, model="other")])
    assert table["chosen"].tolist() == [True, True, False, False, False, False, True, True]
    summary = summarise(table)
    assert summary["chosen"].tolist() == [True, False, False, True]
    assert summary["lr"].tolist() == [5e-3, 1e-2, 2e-2, 1e-2]


def test_the_weights_as_trained_choose_the_rate_of_every_scheme():
    """1e-2 is best in int4, and its loss of training the lowest; 5e-3 stores most as it was trained."""
    rows = [
        *tries({5e-3: [1.5]}, final_loss_nats=2.0),
        *tries({5e-3: [0.1]}, scheme="int4", bits_per_weight=4.0),
        *tries({1e-2: [1.4]}, final_loss_nats=1.0),
        *tries({1e-2: [0.9]}, scheme="int4", bits_per_weight=4.0),
    ]
    assert capacity_table(rows)["chosen"].tolist() == [True, True, False, False]


def test_a_regime_that_rounds_in_training_has_its_rate_chosen_by_its_own_scheme():
    rows = [
        *tries({5e-3: [2.0]}),
        *tries({5e-3: [0.5]}, scheme="int2", bits_per_weight=2.0),
        *tries({1e-2: [1.5]}),
        *tries({1e-2: [1.2]}, scheme="int2", bits_per_weight=2.0),
    ]
    assert capacity_table(rows)["chosen"].tolist() == [True, True, False, False]
    own = [{**each, TRAINED_FOR: "int2"} for each in rows]
    assert capacity_table(own)["chosen"].tolist() == [False, False, True, True]
    absent = [{**each, TRAINED_FOR: "ternary"} for each in rows]
    assert capacity_table(absent)["chosen"].tolist() == [True, True, False, False]


def test_without_the_weights_as_trained_the_finest_scheme_chooses():
    rows = [
        *tries({5e-3: [1.5]}, scheme="int8", bits_per_weight=8.0),
        *tries({5e-3: [0.1]}, scheme="int4", bits_per_weight=4.0),
        *tries({1e-2: [1.4]}, scheme="int8", bits_per_weight=8.0),
        *tries({1e-2: [0.9]}, scheme="int4", bits_per_weight=4.0),
    ]
    assert capacity_table(rows)["chosen"].tolist() == [True, True, False, False]


def test_of_rates_that_store_the_same_the_lowest_is_chosen():
    assert capacity_table(tries({1e-2: [1.5], 5e-3: [1.5]}))["chosen"].tolist() == [False, True]


def test_a_rate_that_a_study_sweeps_is_no_try():
    rows = [*tries({5e-3: [2.0]}, setting="regime.lr=0.005"), *tries({1e-2: [1.0]}, setting="regime.lr=0.01")]
    assert capacity_table(rows)["chosen"].tolist() == [True, True]


def test_the_terminal_table_leaves_out_what_was_not_chosen():
    table = capacity_table(tries({5e-3: [1.0], 1e-2: [2.0]}))
    assert len(readable(table).splitlines()) == 2


def test_the_terminal_table_is_short():
    text = readable(capacity_table([row(noisy())]))
    assert len(text.splitlines()) == 2
    assert max(map(len, text.splitlines())) < 120
