"""Folders for the hub: its own library reads their cards, their prompts are pasted, their metadata validated."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from checkout import Checkout
from httpx2 import ConnectError
from huggingface_hub import DatasetCard, HfApi, ModelCard
from huggingface_hub.utils import filter_repo_objects
from modelled import build_model
from test_rewritten_worlds import rewritten
from transformers import AutoTokenizer
from worlds import SMALL_BIOS, made_tokenizer, make_world

from capacity.api import read_table
from capacity.cli import write_hub_folder
from capacity.errors import UserError
from capacity.hub.dataset_folder import write_dataset_folder
from capacity.hub.model_folder import for_people, prompt_of, write_model_folder
from capacity.hub.public import copy_public, public
from capacity.hub.push import push
from capacity.tokenizers.tokenization import save_tokenizer
from capacity.world.facts import save_world
from capacity.world.pieces import EOS_ID
from capacity.world.render import Renderer
from capacity.world.sampling import training_draws

ROOT = Path(__file__).resolve().parents[2]
CROISSANT = Path(os.environ.get("CROISSANT", ROOT / ".venv-croissant" / "bin" / "mlcroissant"))

Exported = tuple[dict[str, Any], Path]  # a row, and the folder of its model


def row_of(built: Checkout, study: str) -> dict[str, Any]:
    """The row of an unquantised model of a study of the tiny configuration."""
    table = read_table(built.path / "results" / "capacity_table.csv")
    return table[(table["study"] == study) & (table["scheme"] == "none")].to_dict("records")[0]


@pytest.fixture(scope="module", params=["base", "prose"])
def model(request: pytest.FixtureRequest, built: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A row with a word tokenizer, and one with BPE, and the folder of its model."""
    row, folder = row_of(built, request.param), tmp_path_factory.mktemp("hub") / "a-model"
    if request.param == "base":
        answer = built.capacity("hub", f"results/variants/{row['variant_id']}", str(folder), "--dataset", "me/facts")
        assert "a-model is ready" in answer.stdout, answer.stderr
    else:
        write_model_folder(row, built.path / "results", folder, "apache-2.0", "me/facts")
    return row, folder


def test_a_card_has_what_the_hub_asks_for_and_the_numbers_of_the_probe(model: Exported) -> None:
    row, folder = model
    data = ModelCard.load(folder / "README.md", ignore_metadata_errors=False).data
    assert (data.license, data.pipeline_tag, data.library_name) == ("apache-2.0", "text-generation", "transformers")
    assert data.datasets == ["me/facts"]
    assert data.eval_results is not None
    numbers = {result.metric_type: result.metric_value for result in data.eval_results}
    assert numbers["bits_per_parameter"] == row["R"]
    assert numbers["accuracy"] == row["accuracy"]


def test_the_prompt_of_a_card_works_when_pasted(model: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    _, folder = model
    card = (folder / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    monkeypatch.chdir(folder.parent)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    (said,) = re.findall(r"It prints `(.*?)`;", card, re.DOTALL)
    assert printed.getvalue().strip() == said
    assert len(said) > len(re.findall(r"generate\('(.*?)'", code)[0])


def test_its_tokenizer_takes_what_people_type(model: Exported) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model[1])
    card = (model[1] / "README.md").read_text()
    prompt = re.findall(r"generate\('(.*?)'", card)[0]
    ids = tokenizer(prompt)["input_ids"]
    assert ids[0] == tokenizer.eos_token_id
    assert tokenizer(f" {prompt}")["input_ids"] == ids, "with its leading blank, or without"
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == prompt
    assert tokenizer("zyzzyva")["input_ids"], "an unknown word"


def test_an_export_moves_nothing_that_it_is_made_from(model: Exported, built: Checkout) -> None:
    row, folder = model
    names = {path.name for path in (built.path / "results" / "variants" / row["variant_id"]).iterdir()}
    assert names - {"manifest.json"} <= {path.name for path in folder.iterdir()}
    with pytest.raises(UserError, match="exists already"):
        write_model_folder(row, built.path / "results", folder, "apache-2.0", None)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The row of a model of people told in written texts, whose artefacts lie in results/ without manifests."""
    results = tmp_path / "results"
    row = {"dataset_id": "people", "tokenizer_id": "words", "variant_id": "variant", "probe_id": "probe"}
    row |= {"model": "gpt2-1-2", "dataset": "rw", "regime": "quick", "setting": "", "scheme": "none", "kind": "bioR"}
    row |= {"N": 40, "P": 1000, "exposures": 3, "R": 0.1, "R_max": 2.0, "bits_stored": 9.0}
    row |= {"accuracy": 0.5, "accuracy_name": 0.5}
    for place in ("datasets/people", "rewritings/texts", "tokenizers/words", "variants/variant", "probes/probe"):
        (results / place).mkdir(parents=True)
    world = rewritten(results / "rewritings" / "texts", W=2)
    save_world(make_world(world.settings), results / "datasets" / "people")
    save_world(world, results / "rewritings" / "texts")
    tokenizer = made_tokenizer({"kind": "word"}, world)
    save_tokenizer(tokenizer, results / "tokenizers" / "words")
    model = build_model({"family": "gpt2", "l": 1, "h": 2, "head_dim": 4}, tokenizer.get_vocab_size(), 512, seed=1)
    model.save_pretrained(results / "variants" / "variant")
    save_tokenizer(tokenizer, results / "variants" / "variant")
    scores = pd.DataFrame({"person": range(40), "exact": [float(person == 7) for person in range(40)]})
    scores.to_parquet(results / "probes" / "probe" / "scores.parquet")
    parents = {"parents": {"dataset": "rewritings/texts", "tokenizer": "tokenizers/words"}}
    monkeypatch.setattr("capacity.hub.model_folder.verify", lambda folder: parents)
    return row


def test_a_model_of_written_texts_is_asked_with_one_of_them(written: dict[str, Any], tmp_path: Path) -> None:
    write_model_folder(written, tmp_path / "results", tmp_path / "out" / "a-model", "apache-2.0", None)
    card = (tmp_path / "out" / "a-model" / "README.md").read_text()
    (taught,) = re.findall(r"its training said `(.*?)`", card, re.DOTALL)
    texts = pd.read_parquet(tmp_path / "results" / "rewritings" / "texts" / "texts.parquet")["text"]
    assert any(text.strip().startswith(taught) for text in texts)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a-model"]


def test_a_prompt_is_of_a_text_that_has_a_value(tmp_path: Path) -> None:
    world = rewritten(tmp_path, corruption=0.8, W=2)
    assert world.rewritings is not None
    counts, _ = world.rewritings.marks(0, len(world.rewritings))
    assert (counts[:10] == 0).any()
    save_world(world, tmp_path)
    scores = pd.DataFrame({"person": range(world.N), "exact": 0.0})
    scores.to_parquet(tmp_path / "scores.parquet")
    tokenizer = made_tokenizer({"kind": "word"}, world)
    prompt = prompt_of(tmp_path, tmp_path, tokenizer)
    assert any((prompt.text + prompt.value).strip() in text for text in world.rewritings.texts(slice(None)))


def test_a_folder_that_could_not_be_written_is_not_there_the_next_time(written: dict[str, Any], tmp_path: Path) -> None:
    scores = tmp_path / "results" / "probes" / "probe" / "scores.parquet"
    there = scores.read_bytes()
    scores.unlink()
    with pytest.raises(FileNotFoundError):
        write_model_folder(written, tmp_path / "results", tmp_path / "out" / "a-model", "apache-2.0", None)
    with pytest.raises(UserError):
        write_dataset_folder(tmp_path / "results" / "datasets" / "people", tmp_path / "out" / "facts", "apache-2.0")
    assert list((tmp_path / "out").iterdir()) == []
    scores.write_bytes(there)
    write_model_folder(written, tmp_path / "results", tmp_path / "out" / "a-model", "apache-2.0", None)


@pytest.fixture(scope="module")
def dataset(built: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a dataset."""
    folder = tmp_path_factory.mktemp("hub") / "facts"
    write_dataset_folder(
        built.path / "results" / "datasets" / row_of(built, "base")["dataset_id"], folder, "apache-2.0"
    )
    return folder


def test_the_card_of_a_dataset_names_its_table(dataset: Path) -> None:
    data = DatasetCard.load(dataset / "README.md", ignore_metadata_errors=False).data
    assert data.license == "apache-2.0"
    assert data.to_dict()["configs"] == [{"config_name": "facts", "data_files": "facts.parquet"}]
    assert data.size_categories == ["n<1K"]


def test_a_table_of_ones_own_needs_a_licence_and_is_not_called_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "towns.csv").write_text("town,country\nMali,Africa\nParis,Europe\nRome,Europe\n")
    facts = tmp_path / "results" / "datasets" / "records-N3"
    facts.mkdir(parents=True)
    settings = {"kind": "records", "file": str(tmp_path / "towns.csv"), "entity": "town", "attributes": ["country"]}
    save_world(make_world({**settings, "missing": "error", "N": 3, "account": "uniform", "seed": 1}), facts)
    monkeypatch.setattr("capacity.hub.dataset_folder.verify", lambda folder: {"ended": "2026-11-26T00:00:00"})
    words = [str(facts), str(tmp_path / "card")]
    monkeypatch.setattr(sys, "argv", ["capacity", *words])
    with pytest.raises(UserError, match="holds a table of your own; name the licence"):
        write_hub_folder.main()
    monkeypatch.setattr(sys, "argv", ["capacity", *words, "--license", "cc-by-4.0"])
    write_hub_folder.main()
    card = DatasetCard.load(tmp_path / "card" / "README.md", ignore_metadata_errors=False)
    assert card.data.license == "cc-by-4.0"
    assert "3 records of the table towns.csv." in card.text
    assert "synthetic" not in card.content.lower()


def test_values_of_ones_own_need_a_licence_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cities.txt").write_text("Aalen\nUlm\n")
    facts = tmp_path / "results" / "datasets" / "bioS-N3"
    facts.mkdir(parents=True)
    save_world(make_world({**SMALL_BIOS, "N": 3, "value_lists": {"cities": str(tmp_path / "cities.txt")}}), facts)
    monkeypatch.setattr("capacity.hub.dataset_folder.verify", lambda folder: {"ended": "2026-11-26T00:00:00"})
    monkeypatch.setattr(sys, "argv", ["capacity", str(facts), str(tmp_path / "card")])
    with pytest.raises(UserError, match="holds values or sentences of your own; name the licence"):
        write_hub_folder.main()


@pytest.mark.skipif(not CROISSANT.is_file(), reason="make test sets .venv-croissant up; or set CROISSANT")
def test_the_croissant_metadata_of_a_dataset_is_valid(dataset: Path, tmp_path: Path) -> None:
    def validated(folder: Path) -> subprocess.CompletedProcess[str]:
        command = [CROISSANT, "validate", "--jsonld", folder / "croissant.json"]
        return subprocess.run(command, capture_output=True, text=True)

    answer = validated(dataset)
    assert answer.returncode == 0, answer.stderr
    broken = shutil.copytree(dataset, tmp_path / "broken")
    text = (broken / "croissant.json").read_text().replace('"cr:FileObject"', '"cr:FileThing"')
    (broken / "croissant.json").write_text(text)
    assert validated(broken).returncode != 0, "the validator sees a fault"


def test_a_dry_run_of_a_push_lists_what_would_go_where(dataset: Path, model: Exported, built: Checkout) -> None:
    lines = push(dataset, "me/facts", private=False, dry_run=True)
    assert lines[-1] == f"dataset me/facts: {len(list(dataset.iterdir()))} files would be uploaded"
    assert any(line.startswith("facts.parquet  ") for line in lines)
    assert push(model[1], "me/model", private=False, dry_run=True)[-1].startswith("model me/model: ")
    answer = built.capacity("push", str(dataset), "me/facts", "--dry-run")
    assert answer.stdout.splitlines() == lines, answer.stderr
    with pytest.raises(UserError, match="no name of a repository"):
        push(dataset, "not a name", private=False, dry_run=True)
    with pytest.raises(UserError, match="facts: no name of a repository; give user/name"):
        push(dataset, "facts", private=False, dry_run=True)


@pytest.mark.parametrize("kind", [{"kind": "word"}, {"kind": "bpe", "vocabulary": 400}], ids=["words", "pieces"])
def test_a_tag_is_read_as_in_training_with_a_blank_in_front_or_without(kind: dict[str, Any]) -> None:
    world = make_world({**SMALL_BIOS, "N": 40, "tag": True})
    tokenizer = made_tokenizer(kind, world)
    (text,) = Renderer(world, tokenizer).texts(training_draws(world, 1, 0, 0)[:1])
    assert text.startswith(" TAG ")
    taught = tokenizer.encode(text, add_special_tokens=False).ids
    typed = for_people(tokenizer, blank=True)
    assert typed.encode(text).ids == typed.encode(text.strip()).ids == [EOS_ID, *taught]


def test_a_folder_without_a_card_is_not_pushed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no README.md; `capacity hub` writes such a folder"):
        push(tmp_path, "me/facts", private=False, dry_run=True)


@pytest.mark.parametrize("card", ["# hi\n", "---\na: [\n---\n", "---\n- a\n---\n", "---\n1: 2\n---\n", "\xff"])
def test_a_folder_whose_card_cannot_be_read_is_not_pushed(tmp_path: Path, card: str) -> None:
    (tmp_path / "README.md").write_bytes(card.encode("latin-1"))
    with pytest.raises(UserError, match=r"README\.md: is no card \(.*\); `capacity hub` writes one") as refused:
        push(tmp_path, "me/facts", private=False, dry_run=True)
    assert "\n" not in str(refused.value)


def test_a_hub_that_cannot_be_reached_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectError("[Errno 111] Connection refused")

    monkeypatch.setattr(HfApi, "create_repo", unreachable)
    with pytest.raises(
        UserError, match=r"^me/facts: http\S+ did not take it \(.*Connection refused\); look at it there"
    ):
        push(tmp_path, "me/facts", private=False, dry_run=False)


@pytest.mark.parametrize("there", [True, False], ids=["private", "public"])
def test_what_shall_be_private_is_not_sent_to_a_public_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """The hub answers that the repository exists; only asking it tells who can see it."""
    (tmp_path / "README.md").write_text("---\nlicense: other\n---\n")
    sent = []
    monkeypatch.setattr(HfApi, "create_repo", lambda *_, **__: None)
    monkeypatch.setattr(HfApi, "repo_info", lambda *_, **__: SimpleNamespace(private=there))
    monkeypatch.setattr(HfApi, "list_repo_files", lambda *_, **__: [])
    monkeypatch.setattr(HfApi, "upload_folder", lambda *_, **__: sent.append(1) or SimpleNamespace(commit_url="there"))
    if there:
        push(tmp_path, "me/facts", private=True, dry_run=False)
    else:
        with pytest.raises(UserError, match="me/facts: is there already, and public; nothing was sent"):
            push(tmp_path, "me/facts", private=True, dry_run=False)
    assert len(sent) == there


@pytest.mark.parametrize("replace", [True, False])
def test_files_of_an_earlier_upload_are_told_and_removed_where_that_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    there = [".gitattributes", "README.md", "model-00001-of-00002.safetensors", "old[1].json"]
    removed: set[str] = set()

    def upload(*_: object, delete_patterns: list[str] | None, **__: object) -> SimpleNamespace:
        removed.update(filter_repo_objects(there, allow_patterns=delete_patterns) if delete_patterns else ())
        return SimpleNamespace(commit_url="there")

    monkeypatch.setattr(HfApi, "create_repo", lambda *_, **__: None)
    monkeypatch.setattr(HfApi, "list_repo_files", lambda *_, **__: there)
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    said = push(tmp_path, "me/facts", private=False, dry_run=False, replace=replace)[-2]
    assert removed == (set(there[2:]) if replace else set())
    assert said.startswith("model-00001-of-00002.safetensors, old[1].json: ")
    assert ("removed there" if replace else "--replace removes them") in said


def test_a_model_of_ones_own_module_is_refused_before_a_licence_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant = tmp_path / "variants" / "mine"
    variant.mkdir(parents=True)
    (variant / "config.json").write_text('{"factory": "nets.mine:make"}')
    monkeypatch.setattr(sys, "argv", ["hub", str(variant), str(tmp_path / "out")])
    with pytest.raises(UserError, match=r"mine: is a model of your own module nets\.mine:make"):
        write_hub_folder.main()


def test_a_folder_for_the_hub_says_neither_the_machine_nor_a_path_outside_the_checkout(
    model: Exported, dataset: Path, built: Checkout, tmp_path: Path
) -> None:
    for folder in (model[1], dataset):
        told = json.loads((folder / "provenance.json").read_text())
        assert "host" not in told["hardware"]
        assert told["hardware"]["cpu"]
    facts = built.path / "results" / "datasets" / row_of(built, "base")["dataset_id"]
    assert (dataset / "grammar.json").read_bytes() == (facts / "grammar.json").read_bytes()
    settings = {
        "folder": "data/../../ann/secret/runs",
        "file": "/disk/ann/secret/people.csv", "files": {"/disk/ann/secret/people.csv": "0" * 64, "data/x.csv": "1"},
        "phrases": {"path": ["/usr/bin"]}, "value_lists": {"cities": "~/towns.txt"}, "rewriter": {"model": "../llm"},
    }  # fmt: skip
    assert public(settings) == {
        "folder": "runs", "file": "people.csv", "files": {"people.csv": "0" * 64, "data/x.csv": "1"},
        "phrases": {"path": ["/usr/bin"]}, "value_lists": {"cities": "towns.txt"}, "rewriter": {"model": "llm"},
    }  # fmt: skip


def test_provenance_has_neither_the_machine_nor_the_node_that_it_was_made_on(tmp_path: Path) -> None:
    variables = {"OMP_NUM_THREADS": "1", "SLURM_JOB_ID": "7", "SLURMD_NODENAME": "node17.lab.example"}
    made = {"settings": {}, "hardware": {"host": "lab", "cpu": "x"}, "environment": {"variables": variables}}
    (tmp_path / "manifest.json").write_text(json.dumps(made))
    copy_public(tmp_path / "manifest.json", tmp_path / "provenance.json")
    assert json.loads((tmp_path / "provenance.json").read_text()) == {
        "settings": {}, "hardware": {"cpu": "x"}, "environment": {"variables": {"OMP_NUM_THREADS": "1"}},
    }  # fmt: skip


def test_an_artefact_on_another_disk_is_found_by_the_link_that_leads_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, results = tmp_path / "disk", tmp_path / "results"
    disk.mkdir()
    results.mkdir()
    (results / "datasets").symlink_to(disk)
    monkeypatch.setattr(sys, "argv", ["capacity", str(results / "datasets" / "none"), str(tmp_path / "card")])
    with pytest.raises((UserError, OSError), match="none"):  # it is looked for
        write_hub_folder.main()
