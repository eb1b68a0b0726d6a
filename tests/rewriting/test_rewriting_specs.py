"""Promises of rewriting as a stage: its specs, its job, and an audit of what an endpoint wrote."""

import functools
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from checkout import Checkout
from planted import TINY, plant
from test_audit import audit_of, findings
from test_audit_release import audit_of_archive, edit_json, repacked
from test_extraction import LORA, MIXED
from test_quantize_checkpoint import make
from test_rewriting import Server, biography, learn_by_heart, remote, server  # noqa: F401 - a fixture
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from worlds import make_world

from capacity.artefacts.spec import Spec
from capacity.artefacts.stages import STAGES
from capacity.audit import run
from capacity.audit.execution import Choice
from capacity.audit.findings import Severity
from capacity.audit.folder import read_folder
from capacity.audit.release import LISTING, pack
from capacity.audit.run import published_places
from capacity.config.experiment import Config
from capacity.config.load import check, load_config, read_yaml
from capacity.errors import UserError
from capacity.plan.forecast import forecast
from capacity.plan.grid import Grid, resolve
from capacity.plan.model_checks import check_models
from capacity.plan.run_states import run_states
from capacity.plan.survey import hold_against
from capacity.rewriting.prompts import prompt
from capacity.world.facts import World, load_world

BIOR = {
    "kind": "bioR", "N": 4, "rewritings": 2, "rewriter": {"kind": "grammar"},
    "pools": {"first_names": 4, "middle_names": 4, "last_names": 4, "months": 2, "days": 4, "years": 4,
              "cities": 4, "universities": 4, "majors": 4, "employers": 4},
    "templates": 2,
}  # fmt: skip

ASKS = [(person, number) for person in range(4) for number in range(2)]


def raw(**changes: Any) -> dict[str, Any]:
    """The tiny configuration with its people told by a rewriter, and nothing else to build."""
    content = read_yaml(TINY)
    content["datasets"]["people"] = {**BIOR, **changes}
    content["regimes"]["cut"]["exposures"] = 30  # several steps, so that a training can be interrupted
    return {**content, "study": ["prose"]}


def grid_of(**changes: Any) -> Grid:
    return resolve(check(Config, raw(**changes), "planted"))


def rewriting(grid: Grid) -> Spec:
    return next(spec for spec in grid.specs.values() if spec.stage == "rewritings")


@pytest.mark.parametrize("extraction", [MIXED, LORA], ids=["mixed", "lora"])
def test_rewritten_people_can_be_asked(extraction: dict[str, Any]) -> None:
    content = raw(N=20) | {"extractions": {"ask": extraction}}
    content["studies"]["prose"]["extraction"] = "ask"
    grid = resolve(check(Config, content, "planted"))
    questions = next(spec for spec in grid.specs.values() if spec.stage == "questions")
    assert questions.parents["dataset"] == rewriting(grid).name
    check_models(grid.specs, set())  # models of the paper; what texts will be like is not known yet


def test_a_rewriting_stands_between_people_and_all_that_reads_them() -> None:
    grid = grid_of()
    spec = rewriting(grid)
    people = next(each for each in grid.specs.values() if each.stage == "datasets")
    assert spec.parents == {"dataset": people.name}
    readers = [each for each in grid.specs.values() if each.stage in ("tokenizers", "checkpoints", "probes")]
    assert len(readers) == 3
    assert all(each.parents["dataset"] == spec.name for each in readers)
    assert [row["dataset_id"] for row in grid.table.settings["rows"]] == [people.id] * 2


def test_people_who_are_rewritten_are_those_of_bios_and_are_made_once() -> None:
    content = raw()
    told = {key: value for key, value in BIOR.items() if key not in ("rewritings", "rewriter")}
    content["datasets"]["plain"] = told | {"kind": "bioS"}
    content["studies"]["prose"]["datasets"] = ["people", "plain"]
    grid = resolve(check(Config, content, "planted"))
    assert sum(spec.stage == "datasets" for spec in grid.specs.values()) == 1


@pytest.mark.parametrize(
    "change",
    [{"rewritings": 3}, {"rewriter": {"kind": "grammar", "corruption": 0.1}}, {"flawed": "keep"}, {"tries": 2}],
)
def test_what_decides_the_texts_is_in_their_identity_and_not_in_that_of_the_people(change: dict[str, Any]) -> None:
    before, after = grid_of(), grid_of(**change)
    names = [{spec.name for spec in grid.specs.values() if spec.stage == "datasets"} for grid in (before, after)]
    assert names[0] == names[1]
    assert rewriting(before).name != rewriting(after).name


def test_forty_texts_a_person_are_the_default() -> None:
    content = raw()
    del content["datasets"]["people"]["rewritings"]
    assert rewriting(resolve(check(Config, content, "planted"))).settings["rewritings"] == 40


def test_a_model_counts_by_content_or_by_commit_and_runs_on_the_hardware_of_the_scale(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    folder = {"kind": "model", "model": str(tmp_path)}
    before = rewriting(grid_of(rewriter=folder))
    assert before.settings["rewriter"]["accelerator"] == "cpu"
    assert before.settings["rewriter"]["precision"] == "fp32"
    assert "transformers" in before.packages
    (tmp_path / "config.json").write_text("{ }")
    assert rewriting(grid_of(rewriter=folder)).name != before.name
    commits = {rewriting(grid_of(rewriter={"kind": "model", "revision": sha})).name for sha in ("a" * 40, "b" * 40)}
    assert len(commits) == 2
    with pytest.raises(UserError, match=r"rewriter\.model: meta-llama.* is no folder here; a name needs a revision"):
        grid_of(rewriter={"kind": "model"})
    with pytest.raises(UserError, match=r"rewriter\.revision: .* is a folder here, which counts by content; remove it"):
        grid_of(rewriter={**folder, "revision": "a" * 40})
    assert "transformers" not in rewriting(grid_of()).packages


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"paragraphs": 1}, "unknown key 'paragraphs'"),
        ({"junk": {"people": 5}}, "^planted: datasets.people: junk: given with kind: bioR, whose texts are written"),
        ({"flawed": "keep", "tries": 3}, "tries: 3 with flawed: keep"),
        ({"N": 65}, "N: 65 people, but the name pools give only 64 full names"),
        ({"rewriter": {"kind": "grammar", "corruption": 1.0}}, "corruption: 1.0 is not allowed"),
        ({"rewriter": {"kind": "poet"}}, "grammar"),
        (
            {"rewriter": {"kind": "endpoint", "url": "localhost:8000", "model": "m"}},
            r"rewriter.url: 'localhost:8000' is not allowed",
        ),
        ({"rewritings": 0}, "rewritings: 0"),
        ({"rewriter": {"kind": "model", "revision": "main"}}, "revision: 'main'"),
    ],
)
def test_what_cannot_be_rewritten_is_refused_before_any_job(change: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        grid_of(**change)


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hush@host/v1",
        "https://hush@host/v1",
        "https://host/v1?api_key=hush",
        "https://host/v1#hush",
        "https://[hush/v1",
        "me:hush@host/v1",
    ],
)
def test_a_key_in_the_address_of_an_endpoint_is_refused_and_never_repeated(url: str) -> None:
    with pytest.raises(UserError, match=r"rewriter\.url") as caught:
        grid_of(rewriter={"kind": "endpoint", "url": url, "model": "m"})
    assert "hush" not in str(caught.value)
    if "[" not in url:
        assert "REWRITER_API_KEY" in str(caught.value)


def test_a_shared_value_of_two_own_lists_is_refused_before_any_job(tmp_path: Path) -> None:
    (tmp_path / "majors.txt").write_text("Biology\nHarvard\n")
    (tmp_path / "universities.txt").write_text("Harvard\nYale\n")
    pools = {key: value for key, value in BIOR["pools"].items() if key not in ("majors", "universities")}  # type: ignore[attr-defined]
    lists = {name: str(tmp_path / f"{name}.txt") for name in ("majors", "universities")}
    with pytest.raises(UserError, match="value_lists: 'Harvard' is both university and major"):
        grid_of(pools=pools, value_lists=lists)


def test_the_job_reports_its_counts_and_leaves_no_state(tmp_path: Path) -> None:
    grid = grid_of(rewriter={"kind": "grammar", "corruption": 0.2}, flawed="keep", rewritings=9)
    make(tmp_path, "make_dataset.py", next(each for each in grid.specs.values() if each.stage == "datasets"))
    manifest = make(tmp_path, "rewrite_dataset.py", rewriting(grid))
    assert manifest["metrics"]["texts"] == manifest["metrics"]["asked"] == 36
    assert 0 < manifest["metrics"]["flaws_kept"]["flawed"] <= 36
    assert not list((tmp_path / "resume").iterdir())
    assert sorted(manifest["outputs"]) == ["facts.parquet", "grammar.json", "survival.csv", "texts.parquet"]
    make(tmp_path, "make_tokenizer.py", next(each for each in grid.specs.values() if each.stage == "tokenizers"))


def test_survival_says_of_every_fact_in_how_many_texts_it_is_right_first_and_in_the_end(tmp_path: Path) -> None:
    grid = grid_of(rewriter={"kind": "grammar", "corruption": 0.2}, flawed="resample", tries=2, rewritings=9)
    make(tmp_path, "make_dataset.py", next(each for each in grid.specs.values() if each.stage == "datasets"))
    metrics = make(tmp_path, "rewrite_dataset.py", spec := rewriting(grid))["metrics"]
    rows = pd.read_csv(tmp_path / spec.name / "survival.csv").set_index(["which", "item"])
    for which, flaws in (("first", metrics["flaws_at_first"]), ("kept", metrics["flaws_kept"])):
        assert rows.loc[(which, "all"), "right"] == 36 - flaws.pop("flawed")
        facts = rows.loc[which].drop("all")
        assert list(facts.index) == ["name", "birth_date", "birth_city", "university", "major", "employer", "gender"]
        assert (facts[["right", "missing", "wrong"]].sum(axis=1) == 36).all()
        told = {f"{item}: {flaw}": facts.loc[item, flaw] for item in facts.index for flaw in ("missing", "wrong")}
        assert {key: number for key, number in told.items() if number} == flaws
    assert rows.loc[("kept", "all"), "right"] > rows.loc[("first", "all"), "right"]


def test_plan_and_runs_know_the_stage(tmp_path: Path) -> None:
    grid = grid_of()
    plan = hold_against(grid, tmp_path)
    assert STAGES["rewritings"].rule in {job.rule for job in forecast(plan, tmp_path).jobs}
    plant(next(each for each in grid.specs.values() if each.stage == "datasets"), tmp_path)
    runs = run_states(hold_against(grid, tmp_path), tmp_path)
    assert {run["stage"] for run in runs} == {"rewritings"}


# --- a LLaMA through the engine


@functools.cache
def people_of_the_tiny_world() -> World:
    told = {key: value for key, value in BIOR.items() if key not in ("kind", "rewritings", "rewriter")}
    return make_world({"kind": "bioS", "seed": 1, **told})


def llama(folder: Path, taught: list[tuple[int, int]]) -> Path:
    """A small LLaMA of random weights with a byte-level BPE, taught by heart what to answer to some prompts."""
    world = people_of_the_tiny_world()
    pairs = {ask: (f"{prompt(world, *ask, 40)}\nBiography:", f" {biography(world, *ask)}") for ask in ASKS}
    tokenizer = byte_level([text for pair in pairs.values() for text in pair])
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **ends, vocab_size=len(tokenizer), max_position_embeddings=512))
    rows = []
    for ask in taught:
        asked, answer = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in pairs[ask])
        rows.append((torch.tensor([[*asked, *answer, 0]]), torch.tensor([[-100] * len(asked) + [*answer, 0]])))
    learn_by_heart(model, rows, 100 if rows else 0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def byte_level(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE as GPT-2 has it, of some texts."""
    raw_tokenizer = Tokenizer(models.BPE())
    raw_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw_tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    raw_tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw_tokenizer, eos_token="<|endoftext|>")


def model_settings(folder: Path) -> dict[str, Any]:
    return {"kind": "model", "model": str(folder), "batch": 1, "words": 40, "max_tokens": 120, "temperature": 0.1}


@pytest.mark.long
def test_a_llama_rewrites_through_the_engine_and_what_it_says_beside_the_facts_is_counted(tmp_path: Path) -> None:
    """It knows what to say of two people; of the two others it tells the wrong facts or none. All is trained on."""
    folder = llama(tmp_path / "llama", [ask for ask in ASKS if ask[0] < 2])
    checkout = Checkout.new(tmp_path / "checkout")
    content = raw(rewriter=model_settings(folder), flawed="keep")
    (checkout.path / "config.yaml").write_text(json.dumps(content))
    checkout.build()
    spec = rewriting(resolve(check(Config, content, "planted")))
    metrics = json.loads((checkout.path / "results" / spec.name / "manifest.json").read_text())["metrics"]
    assert metrics["texts"] == metrics["asked"] == 8
    flaws = metrics["flaws_kept"]
    assert flaws["flawed"] == 4
    assert flaws.get("name: missing", 0) + flaws.get("name: wrong", 0) == 4
    assert metrics["facts_never_told"] == 2 * 7
    told = load_world(checkout.path / "results" / spec.name).rewritings
    assert told
    texts = told.texts(slice(None))
    world = people_of_the_tiny_world()
    assert texts[:4] == [f" {' '.join(biography(world, *ask).split())}" for ask in ASKS[:4]]
    assert all(text.strip() for text in texts[4:])
    rows = (checkout.path / "results" / "capacity_table.csv").read_text().splitlines()
    assert len(rows) == 3


@pytest.mark.long
def test_a_llama_that_never_learned_anything_ends_its_job_in_one_line(tmp_path: Path) -> None:
    checkout = Checkout.new(tmp_path / "checkout")
    content = raw(rewriter=model_settings(llama(tmp_path / "llama", [])))
    (checkout.path / "config.yaml").write_text(json.dumps(content))
    assert checkout.engine().returncode != 0
    spec = rewriting(resolve(check(Config, content, "planted")))
    log = (checkout.path / "results" / "logs" / "rewrite_dataset" / f"{spec.id}.log").read_text().splitlines()
    assert log[-1].startswith(
        "error: rewriter: none of 8 texts mentions a single fact of its person; the first begins "
    )
    assert not (checkout.path / "results" / spec.name).exists()


# --- an audit


@pytest.fixture
def asked(server: Server, tmp_path: Path) -> tuple[Checkout, Config]:  # noqa: F811
    """A checkout whose table rests on what an endpoint wrote; the endpoint is gone."""
    rewriter = {key: value for key, value in remote(server).items() if key != "timeout"}
    checkout = Checkout.new(tmp_path / "checkout")
    (checkout.path / "config.yaml").write_text(json.dumps(raw(rewriter=rewriter)))
    checkout.build()
    assert server.asked
    server.manner = "refuses"
    server.asked.clear()
    return checkout, load_config([checkout.path / "config.yaml"], {})


@pytest.mark.long
def test_an_audit_takes_what_an_endpoint_wrote_as_it_is_and_makes_the_rest_again(
    asked: tuple[Checkout, Config],
    server: Server,  # noqa: F811
) -> None:
    checkout, config = asked
    grid = resolve(config)
    report = audit_of(checkout, config, grid, (2, 4, 5), Choice("all"))
    assert findings(report) == []
    again = next(level for level in report.levels if level.number == 4)
    assert again.facts["taken as they are, from endpoints"] == [rewriting(grid).name]
    assert again.facts["made again"]["different"] == 0
    assert again.facts["made again"]["equal bits"] > 3
    assert server.asked == []
    target = audit_of(checkout, config, grid, (4,), Choice(target=rewriting(grid).name))
    assert [each.kind for each in findings(target, Severity.NOTE)] == ["not made again"]
    assert "their digests pin them" in findings(target, Severity.NOTE)[0].what
    server.manner = "able"  # whoever asks it now is found out
    texts = checkout.path / "results" / rewriting(grid).name / "texts.parquet"
    texts.write_bytes(texts.read_bytes()[:-1] + b"x")
    lost = audit_of(checkout, config, grid, (2, 4), Choice("all"))
    assert {(each.severity, each.kind) for each in findings(lost)} >= {(Severity.WARNING, "not made again")}
    assert any(each.severity == Severity.FAULT and "texts.parquet" in each.where for each in findings(lost))
    assert server.asked == []


def test_an_audit_never_asks_an_endpoint_though_its_texts_and_their_manifest_are_gone(
    asked: tuple[Checkout, Config],
    server: Server,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REWRITER_API_KEY", "secret")
    (checkout, config), texts = asked, "results/rewritings/"
    grid = resolve(config)
    server.manner = "able"
    archive = tmp_path / "release.tar.gz"
    (tmp_path / "scratch").mkdir()
    pack(
        read_folder(checkout.path / "results", published_places(grid)), config, [], archive, None, tmp_path / "scratch"
    )

    def remove(root: Path) -> None:
        shutil.rmtree(root / texts)
        kept = lambda files: {name: entry for name, entry in files.items() if not name.startswith(texts)}  # noqa: E731
        edit_json(root / LISTING, lambda it: it.update(files=kept(it["files"])))

    hostile = repacked(archive, tmp_path / "hostile.tar.gz", remove)
    report = audit_of_archive(hostile, tmp_path, (4, 5))
    assert [level.number for level in report.levels] == [1, 2, 4, 5]
    assert [level.grade.partition(" found")[0] for level in report.levels[2:]] == ["not done: level 1"] * 2
    monkeypatch.setattr(run, "RESTS_ON", {})
    shutil.rmtree(tmp_path / "unpacked")
    again = audit_of_archive(hostile, tmp_path, (4, 5))
    assert {each.kind for each in findings(again)} == {"not made again", "not done"}
    assert "missing, damaged or of other code, and none is asked" in findings(again)[0].what
    shutil.rmtree(checkout.path / texts)
    own = audit_of(checkout, config, grid, (4, 5), Choice("all"))
    assert {each.kind for each in findings(own)} == {"not made again"}
    assert server.asked == []
