"""Models that cannot be fine-tuned on questions, or have no room for them, are refused in one line before any job."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from modelled import model_of
from test_external import OTHERS, factory, hf
from test_extraction import LORA, MIXED, asking, grid_of
from test_pretrained import folder_of
from trainings import HARDWARE, spec_of
from worlds import ATOMIC, settings_of

from capacity.artefacts.identity import SCRIPTS
from capacity.errors import UserError
from capacity.extraction import askable
from capacity.extraction.askable import check_asked, check_ready, most_positions
from capacity.plan import model_checks
from capacity.plan.model_checks import ANSWER, check_models

SMALL = {**ATOMIC, "N": 20}
TRY = {
    "method": "lora", "ranks": [2, 2], "lr": 0.01, "steps": 5, "batch": 4, "weight_decay": 0.1, "hardware": HARDWARE,
    "seed": 1,
}  # fmt: skip
WHOLE = {**TRY, "method": "full", "ranks": None}
QUESTIONS = {"asked": 0.5, "choosing": 0.2, "wordings": {}, "seed": 1}
LONGEST = 13  # EOS, What is the id1 of F M L ? Answer: V


def asked_of(model: dict[str, Any], attempt: dict[str, Any] = TRY, **regime: Any) -> dict[str, Any]:
    """A model that is asked about a small world, whose biographies have 12 tokens with EOS."""
    settings = {**spec_of(**regime), "model": model_of(model).plain()}
    if attempt["method"] == "mixed":
        attempt = {**settings, **attempt}
    return {
        "model": settings["model"], "regime": settings["regime"], "seed": 1, "tries": [attempt],
        "questions": QUESTIONS,
        "dataset": settings_of(SMALL).plain(), "tokenizer": {"kind": "word"},
    }  # fmt: skip


def refusal(asked: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        check_asked(asked)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["mamba", "rwkv"])
def test_lora_of_a_model_without_query_and_value_is_refused_and_full_fine_tuning_is_not(kind: str):
    text = refusal(asked_of(hf(kind)))
    assert text.startswith(f"hf: {kind}: method: lora with ")
    assert "has no query and value" in text
    assert text.endswith("use method: full")
    check_asked(asked_of(hf(kind), WHOLE))


@pytest.mark.parametrize("kind", sorted({*OTHERS} - {"mamba", "rwkv", "gpt2"}))
def test_a_model_with_query_and_value_can_be_asked_either_way(kind: str):
    check_asked(asked_of(hf(kind)))
    check_asked(asked_of(hf(kind), WHOLE))


def test_a_rank_above_a_width_that_the_configuration_does_not_state_is_refused():
    """As one that it states is by `capacity.plan.extraction_specs`."""
    opt = hf("opt", num_hidden_layers=1, ffn_dim=16, num_attention_heads=2, dropout=0.0)  # 768 wide by default
    attempt = {**TRY, "ranks": [800, 2]}
    assert refusal(asked_of(opt, attempt)) == (
        "hf: opt: ranks: 800 for the embedding of a model of width 768; use at most 768"
    )


def test_query_and_value_that_share_a_projection_with_fewer_keys_are_refused():
    """One key head for all: the rows of the three are not a third each."""
    model = hf("gpt_bigcode", n_embd=16, n_layer=1, n_head=2, attn_pdrop=0.0, resid_pdrop=0.0, embd_pdrop=0.0)
    assert "makes query, key and value of unequal widths; use method: full" in refusal(asked_of(model))


def test_a_model_that_merging_changes_is_refused(monkeypatch: pytest.MonkeyPatch):
    def doubled(adapted: Any) -> Any:
        model = adapted.merge_and_unload()
        model.get_output_embeddings().weight.mul_(2)
        return model

    monkeypatch.setattr(askable, "merged", doubled)
    text = refusal(asked_of(hf("qwen3", attention_dropout=0.0)))
    assert text == "hf: qwen3: method: lora: gives other logits once its low-rank matrices are merged; use method: full"


def test_a_model_that_takes_no_new_rows_is_refused(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise NotImplementedError("no rows\nhere")

    monkeypatch.setattr("transformers.PreTrainedModel.resize_token_embeddings", refuse)
    text = refusal(asked_of(hf("qwen3", initializer_range=0.03), WHOLE))
    assert text == "hf: qwen3: method: full: cannot be applied: no rows here; use method: mixed"


def test_learned_positions_are_found_out_and_others_have_no_limit():
    assert most_positions(json.dumps(hf("gpt2"))) == askable.T
    assert most_positions(json.dumps(hf("gpt2", n_positions=40))) == 40
    assert most_positions(json.dumps(factory("averages"))) == askable.T
    for kind in ("qwen3", "mamba", "mixtral"):
        assert most_positions(json.dumps(hf(kind))) == 0


def test_learned_positions_that_are_too_few_for_the_questions_are_refused():
    rows = "take up to 13 tokens; use shorter wordings, or max_position_embeddings: 13 in its hf"
    assert refusal(asked_of(hf("gpt2"))) == f"hf: gpt2: has 12 positions, but questions with their answers {rows}"
    assert "has 12 positions" in refusal(asked_of(hf("gpt2", n_positions=12)))
    assert "has 12 positions" in refusal(asked_of(hf("gpt2"), packing="windows", context=12))
    assert "has 12 positions" in refusal(asked_of(hf("gpt2", n_positions=12), {"method": "mixed", "share": 0.5}))


def test_just_enough_positions_are_enough():
    check_asked(asked_of(hf("gpt2", n_positions=LONGEST)))
    check_asked(asked_of(hf("gpt2"), packing="windows", context=LONGEST))
    check_asked(asked_of(hf("gpt2"), {"method": "mixed", "share": 0.5}))  # rows as long as its questions
    check_asked(asked_of(factory("averages"), {"method": "mixed", "share": 0.5}))


def test_a_tokenizer_with_all_its_rows_is_no_reason_to_refuse_a_model_that_has_learned_its_positions(tmp_path: Path):
    asked = asked_of(factory("averages"), {"method": "mixed", "share": 0.5})
    whole = {"kind": "pretrained", "folder": folder_of(tmp_path, "gpt2"), "compact": False, "rows": None, "files": {}}
    check_asked({**asked, "tokenizer": whole})


def test_a_shorter_wording_needs_fewer_positions():
    asked = asked_of(hf("gpt2"))
    asked["questions"] = {**QUESTIONS, "wordings": {f"id_{k}": ["{name} is"] for k in range(1, 5)}}
    check_asked(asked)


@pytest.mark.parametrize("model", [{"family": "gpt2", "l": 1, "h": 2, "head_dim": 4}, factory("averages")])
def test_windows_of_mixed_training_that_hold_no_question_are_refused_whatever_the_model(model: dict[str, Any]):
    mixed = {"method": "mixed", "share": 0.5}
    text = refusal(asked_of(model, mixed, packing="windows", context=LONGEST - 1))
    assert text.startswith("context: 12, but questions with their answers have up to 13 tokens; use a longer context")
    check_asked(asked_of(model, mixed, packing="windows", context=LONGEST))


def test_a_large_model_is_laid_out_and_not_run():
    large = {"hidden_size": 4096, "num_hidden_layers": 8, "num_attention_heads": 8, "intermediate_size": 8192}
    check_ready(json.dumps(hf("qwen3", **large, num_key_value_heads=8)), (2, 2), 1)
    with pytest.raises(UserError, match="has no query and value"):
        check_ready(json.dumps(hf("mamba", hidden_size=4096, num_hidden_layers=8)), (2, 2), 1)


# --- from a configuration


def wanted(raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch, done: set[str] | None = None) -> dict[str, Any]:
    """What the process that checks is given; empty where it is not started."""
    given: dict[str, Any] = {}

    def run(command: list[str], input: str, **_: Any) -> subprocess.CompletedProcess:
        given.update(json.loads(input))
        return subprocess.CompletedProcess(command, 0, f"{ANSWER}[]\n", "")

    monkeypatch.setattr(model_checks.subprocess, "run", run)
    check_models(grid_of(raw).specs, done or set())
    return given


def with_model(raw: dict[str, Any], model: dict[str, Any]) -> dict[str, Any]:
    raw = copy.deepcopy(raw)
    raw["models"]["small"] = model
    return raw


def test_models_of_the_paper_start_no_process_but_for_windows_of_questions(monkeypatch: pytest.MonkeyPatch):
    assert wanted(asking(), monkeypatch) == {}
    assert wanted(asking(MIXED), monkeypatch) == {}  # rows
    windows = wanted(asking(MIXED, "prose", **{"datasets/people/N": 20}), monkeypatch)
    assert windows["models"] == []
    assert [each["regime"]["context"] for each in windows["asked"]] == [512]


def test_all_tries_that_are_still_to_be_made_are_checked_once_a_training(monkeypatch: pytest.MonkeyPatch):
    raw = with_model(asking(), hf("mamba"))
    given = wanted(raw, monkeypatch)
    assert given["models"] == [hf("mamba")]
    assert [each["regime"]["exposures"] for each in given["asked"]] == [2, 1]
    assert sorted(attempt["ranks"] for attempt in given["asked"][0]["tries"]) == LORA["ranks"]
    assert given["asked"][0]["dataset"]["N"] == 20
    specs = grid_of(raw).specs
    made = {o.name for o in specs.values()} | {m.name for o in specs.values() for m in o.members}
    assert wanted(raw, monkeypatch, made) == {}
    untuned = {name for name in made if not name.startswith("finetunes/")}
    assert wanted(raw, monkeypatch, untuned) == {**given, "models": [], "quantised": []}


def test_the_main_process_hears_of_it_in_one_line_before_any_job():
    raw = with_model(asking(), hf("mamba"))
    with pytest.raises(
        UserError, match=r"^hf: mamba: method: lora with MambaForCausalLM, which has no query and value"
    ):
        check_models(grid_of(raw).specs, set())


def test_the_process_that_checks_finds_what_the_users_own_path_leads_to(monkeypatch: pytest.MonkeyPatch):
    """A job would: the engine hands its environment on."""
    given: list[dict[str, str]] = []

    def run(command: list[str], env: dict[str, str], **_: Any) -> subprocess.CompletedProcess:
        given.append(env)
        return subprocess.CompletedProcess(command, 0, f"{ANSWER}[]\n", "")

    monkeypatch.setattr(model_checks.subprocess, "run", run)
    for path, expected in (("/of/mine", f"{SCRIPTS}:/of/mine"), ("", str(SCRIPTS))):
        monkeypatch.setenv("PYTHONPATH", path)
        check_models(grid_of(with_model(asking(), hf("mamba"))).specs, set())
        assert given.pop()["PYTHONPATH"] == expected


def test_what_a_module_prints_when_the_process_ends_is_no_answer(monkeypatch: pytest.MonkeyPatch):
    said = f"hello\n{ANSWER}[]\ngoodbye\n"
    monkeypatch.setattr(model_checks.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, said, ""))
    specs = grid_of(with_model(asking(), hf("mamba"))).specs
    check_models(specs, set())
    said = "hello\n"
    with pytest.raises(UserError, match="ends the process that builds it; take that out"):
        check_models(specs, set())


def test_without_questions_peft_is_not_imported():
    code = "import sys, json, io; sys.stdin = io.StringIO(json.dumps({'models': [], 'quantised': [], 'asked': []}));"
    code += "from capacity.cli import check_models; check_models.main(); assert 'peft' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, check=True)


def test_own_wordings_are_read_by_the_tokenizer_before_any_job(monkeypatch: pytest.MonkeyPatch):
    raw = asking({**LORA, "wordings": {"id_1": ["The id1 of {name} is", "{name}, id1:", "For {name} the id1 is"]}})
    (asked, _) = wanted(raw, monkeypatch)["asked"]
    check_asked(asked)
    bad = {**asked, "questions": {**asked["questions"], "wordings": {"id_1": ["{name}s id1 is"]}}}
    assert refusal(bad) == (
        "wordings: the tokenizer cannot read a question (WordLevel error: Missing [UNK] token from the vocabulary); "
        "put blanks around {name}"
    )
