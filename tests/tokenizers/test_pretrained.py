"""Promises of published tokenizers: cut to the used rows without changing an id, counted by content.

The tokenizers are trained here in the forms of GPT-2's and LLaMA's, so that no download is needed.
"""

import functools
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from planted import TINY
from test_quantize_checkpoint import make
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer
from worlds import SMALL_BIOS, SPECS, KnowsAll, made_tokenizer, settings_of, world_of

from capacity.config.experiment import Config
from capacity.config.load import check, read_yaml
from capacity.config.tokenizer import Pretrained
from capacity.errors import UserError
from capacity.plan.estimates import vocabulary
from capacity.plan.grid import resolve
from capacity.plan.world_specs import tokenizer_settings
from capacity.probe.score import score_people
from capacity.probe.spec import ProbeDraws
from capacity.tables.bits import person_bits
from capacity.tables.scores import score_matrices
from capacity.tokenizers.published import published_rows
from capacity.tokenizers.spec import read_tokenizer
from capacity.tokenizers.tokenization import (
    EOS_TOKEN,
    build_tokenizer,
    has_all_rows,
    load_tokenizer,
    save_tokenizer,
)
from capacity.world.pieces import EOS_ID
from capacity.world.render import Renderer
from capacity.world.sampling import training_draws

OTHER_TEXT = Path(__file__).resolve().parents[2] / "docs" / "findings.md"


@functools.cache
def published(form: str) -> Tokenizer:
    """A tokenizer trained on other text than the worlds', with the parts around it that published ones have."""
    as_llama = form in ("llama", "endless")
    tokenizer = Tokenizer(models.BPE(byte_fallback=as_llama, unk_token="<unk>" if as_llama else None))
    special, alphabet = [EOS_TOKEN], pre_tokenizers.ByteLevel.alphabet()
    if as_llama:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        special = ["<unk>", "<s>", *["</s>"][: form == "llama"], *(f"<0x{byte:02X}>" for byte in range(256))]
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?=▁)|(?<=\w)(?=\W)|(?<=\W)(?=\w)"), "isolated")
        alphabet = []
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=form == "roberta")
        tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(OTHER_TEXT.read_text(encoding="utf-8").splitlines(), trainer)
    if as_llama:
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def folder_of(tmp_path: Path, form: str) -> str:
    published(form).save(str(tmp_path / "tokenizer.json"))
    return str(tmp_path)


@pytest.mark.parametrize("form", ["gpt2", "roberta", "llama"])
@pytest.mark.parametrize("world_name", SPECS)
def test_a_published_tokenizer_is_cut_to_what_the_world_uses_without_changing_a_token(
    tmp_path: Path, form: str, world_name: str
) -> None:
    world = world_of(SPECS[world_name])
    compact = made_tokenizer({"kind": "pretrained", "folder": folder_of(tmp_path, form)}, world)
    renderer, draws = Renderer(world, compact), training_draws(world, 7, 0, 0)[:60]
    texts = renderer.texts(draws)
    whole = published(form)
    for text in texts:  # LLaMA's puts the blank there itself, and a start token
        given = text.removeprefix(" ") if form == "llama" else text
        encoding = whole.encode(given, add_special_tokens=False)
        assert compact.encode(text).tokens == encoding.tokens
        assert compact.decode(compact.encode(text).ids) == text
    assert renderer.tokens(draws, labels=False).tokens.tolist() == [
        token for text in texts for token in compact.encode(text).ids
    ]
    assert compact.token_to_id(EOS_TOKEN) == EOS_ID
    assert renderer.vocab_size < compact.get_vocab_size() < whole.get_vocab_size()


@pytest.mark.parametrize("form", ["gpt2", "roberta", "llama", "endless"])
@pytest.mark.parametrize("world_name", SPECS)
def test_not_compact_it_keeps_every_row_and_no_token_of_a_text_changes(
    tmp_path: Path, form: str, world_name: str
) -> None:
    world, whole = world_of(SPECS[world_name]), published(form)
    folder = folder_of(tmp_path, form)
    kept = made_tokenizer({"kind": "pretrained", "folder": folder, "compact": False}, world)
    rows = whole.get_vocab_size() + (form == "endless")  # which has no end of a text, so that one is added
    assert published_rows(tmp_path / "tokenizer.json") == kept.get_vocab_size() == rows
    assert sorted(kept.get_vocab().values()) == list(range(rows))
    assert kept.token_to_id(EOS_TOKEN) == EOS_ID
    renderer, draws = Renderer(world, kept, all_rows=True), training_draws(world, 7, 0, 0)[:60]
    assert renderer.vocab_size == rows > renderer.num_used
    texts = renderer.texts(draws)
    for text in texts:
        given = text.removeprefix(" ") if form in ("llama", "endless") else text
        assert kept.encode(text).tokens == whole.encode(given, add_special_tokens=False).tokens
        assert kept.decode(kept.encode(text).ids) == text
    assert renderer.tokens(draws, labels=False).tokens.tolist() == [
        token for text in texts for token in kept.encode(text).ids
    ]
    with pytest.raises(UserError, match="it has rows that this dataset never uses"):
        Renderer(world, kept)


def test_a_file_that_does_not_say_its_kind_is_read_as_gpt2s_own(tmp_path: Path) -> None:
    """GPT-2's published tokenizer.json is older than the key, and than some of the others."""
    world = world_of(SMALL_BIOS)
    folder = folder_of(tmp_path, "gpt2")
    made = made_tokenizer({"kind": "pretrained", "folder": folder}, world)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text())
    del content["model"]["type"], content["normalizer"]
    path.write_text(json.dumps(content))
    assert made_tokenizer({"kind": "pretrained", "folder": folder}, world).to_str() == made.to_str()


def test_tokens_that_were_added_to_a_published_vocabulary_are_rows_too(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_str(published("gpt2").to_str())
    tokenizer.add_tokens(["<|tool|>", "<|pad|>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    settings = {"kind": "pretrained", "folder": str(tmp_path)}
    assert made_tokenizer(settings | {"compact": False}, world_of(SMALL_BIOS)).get_vocab_size() == 1502
    assert made_tokenizer(settings, world_of(SMALL_BIOS)).get_vocab_size() < 1000


def test_a_model_that_knows_all_stores_all_whatever_rows_it_has_besides(tmp_path: Path) -> None:
    world, folder = world_of(SMALL_BIOS), folder_of(tmp_path, "gpt2")
    stored = []
    for compact in (True, False):
        tokenizer = made_tokenizer({"kind": "pretrained", "folder": folder, "compact": compact}, world)
        renderer = Renderer(world, tokenizer, all_rows=not compact)
        scores = score_people(KnowsAll(renderer.vocab_size), renderer, world, ProbeDraws(draws=1, seed=7)).to_pandas()
        stored.append(person_bits(score_matrices(scores, world.account)["nats"], None, world.account).total.sum())
    assert stored[0] == pytest.approx(stored[1])


@pytest.mark.long
def test_p_counts_every_row_and_the_checkpoint_is_read_with_them(tmp_path: Path) -> None:
    """Through the jobs: dataset, tokenizer, training, a variant calibrated on text, and its scores."""
    folder, results, metrics = folder_of(tmp_path, "gpt2"), tmp_path / "results", []
    for compact in (True, False):
        raw: dict[str, Any] = read_yaml(TINY)
        raw["tokenizers"]["bpe"] = {"kind": "pretrained", "folder": folder, "compact": compact}
        raw["quantizers"]["int8"] = {"method": "gptq", "bits": 8, "calibration": 3}
        specs = resolve(check(Config, {**raw, "study": ["prose"]}, "planted")).specs.values()
        for stage in ("datasets", "tokenizers", "checkpoints", "variants", "probes"):
            spec = next(each for each in specs if each.stage == stage)
            manifest = make(results, spec.script, spec)
            metrics += [manifest["metrics"]] if stage in ("tokenizers", "checkpoints") else []
        training = results / str(spec.members[0].parents["variant"]) / "training.json"
        assert json.loads(training.read_text())["vocabulary"] == metrics[-2]["vocab_size"]
        tokenizer = next(each for each in specs if each.stage == "tokenizers").settings
        assert compact or vocabulary(settings_of(SMALL_BIOS), read_tokenizer(tokenizer)) == 1500
    cut, cut_model, whole, whole_model = metrics
    assert (cut["vocab_size"], whole["vocab_size"]) == (cut["used"], 1500)
    assert whole["used"] == cut["used"]
    assert whole_model["parameters"] - cut_model["parameters"] == (1500 - cut["used"]) * 8  # width 8, head tied


def test_a_tokenizer_with_all_its_rows_is_read_by_transformers_and_says_so(tmp_path: Path) -> None:
    world = world_of(SMALL_BIOS)
    settings = {"kind": "pretrained", "folder": folder_of(tmp_path, "gpt2"), "compact": False}
    kept, saved = made_tokenizer(settings, world), tmp_path / "saved"
    saved.mkdir()
    save_tokenizer(kept, saved, all_rows=True)
    text = Renderer(world, kept, all_rows=True).texts(training_draws(world, 7, 0, 0)[:1])[0]
    theirs = AutoTokenizer.from_pretrained(saved)
    assert theirs(text)["input_ids"] == kept.encode(text).ids
    assert (theirs.eos_token_id, len(theirs)) == (EOS_ID, 1500)
    assert has_all_rows(saved)
    save_tokenizer(kept, saved)
    assert not has_all_rows(saved)


def test_it_survives_saving(tmp_path: Path) -> None:
    world = world_of(SMALL_BIOS)
    compact = made_tokenizer({"kind": "pretrained", "folder": folder_of(tmp_path, "gpt2")}, world)
    save_tokenizer(compact, tmp_path)
    text = Renderer(world, compact).texts(training_draws(world, 7, 0, 0)[:1])[0]
    assert load_tokenizer(tmp_path).encode(text).ids == compact.encode(text).ids


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "is no tokenizer"),
        ("{", "is no tokenizer"),
        (json.dumps({"model": {"type": "Unigram"}}), "is a Unigram tokenizer; use a BPE one"),
    ],
)
def test_a_folder_without_a_usable_tokenizer_is_named(tmp_path: Path, content: str | None, says: str) -> None:
    if content:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=says):
        made_tokenizer({"kind": "pretrained", "folder": str(tmp_path)}, world_of(SMALL_BIOS))


def test_the_configuration_counts_it_by_content_and_refuses_a_folder_without_one(tmp_path: Path) -> None:
    def ids(**changes: Any) -> set[str]:
        raw: dict[str, Any] = read_yaml(TINY)
        raw["tokenizers"]["bpe"] = {"kind": "pretrained", "folder": str(tmp_path), **changes}
        grid = resolve(check(Config, raw, "planted"))
        return {spec.id for spec in grid.specs.values() if spec.stage == "tokenizers"}

    with pytest.raises(UserError, match=r"has no tokenizer\.json"):
        ids()
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="is no tokenizer"):
        ids(compact=False)
    folder_of(tmp_path, "gpt2")
    before = ids()
    assert ids(compact=True) == before
    assert ids(compact=False) != before
    (tmp_path / "tokenizer.json").write_text((tmp_path / "tokenizer.json").read_text() + "\n")
    assert ids() != before


# --- by name


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cached(cache: Path, content: str) -> Path:
    """A repository's tokenizer as Hugging Face's library keeps what it has downloaded."""
    file = cache / "models--someone--english" / "snapshots" / COMMIT / "tokenizer.json"
    file.parent.mkdir(parents=True)
    file.write_text(content, encoding="utf-8")
    return file


def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return check(Pretrained, {"kind": "pretrained", "name": "someone/english", "revision": COMMIT}, "tokenizers.x")


def test_a_name_stands_for_the_file_in_the_cache_and_counts_by_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_name = named(tmp_path, monkeypatch)
    file = cached(tmp_path / "hub", published("gpt2").to_str())
    settings = tokenizer_settings(by_name)
    assert settings.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    world = world_of(SMALL_BIOS)
    by_folder = made_tokenizer({"kind": "pretrained", "folder": str(file.parent)}, world)
    assert build_tokenizer(settings, world).to_str() == by_folder.to_str()
    assert tokenizer_settings(by_name.model_copy(update={"compact": False})).rows == 1500
    file.write_text(published("llama").to_str(), encoding="utf-8")
    assert tokenizer_settings(by_name).sha256 != settings.sha256
    with pytest.raises(UserError, match=r"^name: .* changed since the run began; start the run again$"):
        build_tokenizer(settings, world)


def test_a_name_that_was_not_downloaded_is_refused_with_the_command_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError) as refused:
        tokenizer_settings(named(tmp_path, monkeypatch))
    assert str(refused.value).endswith(f"hf download someone/english tokenizer.json --revision {COMMIT}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "give one of them"),
        ({"folder": "a", "name": "b/c", "revision": COMMIT}, "give one of them"),
        ({"name": "b/c"}, "name: b/c needs a revision"),
        ({"name": "b/c", "revision": "main"}, "revision"),
        ({"folder": "a", "revision": COMMIT}, "remove revision"),
    ],
)
def test_folder_name_and_revision_that_do_not_go_together(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        check(Pretrained, {"kind": "pretrained", **given}, "tokenizers.x")


def test_the_command_that_downloads_is_installed_with_the_project() -> None:
    hub = Path(sys.executable).with_name("hf")
    assert "--revision" in subprocess.run([hub, "download", "--help"], capture_output=True, text=True).stdout
