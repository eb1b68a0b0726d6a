"""What torchao and llm-compressor make of the planted models: writes or checks the stored numbers.

Runs in its own environment, envs/crosscheck.txt: `make crosscheck`.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from crosscheck_models import (
    FAMILIES,
    GPTQ_CASES,
    PIPELINES,
    RTN_CASES,
    VOCABULARY,
    linear_layers,
    matrix,
    model_of,
    tokens,
)
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torchao.quantization import IntxWeightOnlyConfig, MappingType, quantize_
from torchao.quantization.granularity import PerAxis, PerGroup
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers import PreTrainedModel as Model

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from capacity.quantization.calibration import input_moments
from capacity.quantization.gptq import layer_error

STORED = Path(__file__).with_name("references.json")
TOLERANCE = 1e-3  # of a stored error, between two machines


def rounded_by_torchao(bits: int, symmetric: bool, group: int | str) -> list[list[float]]:
    """The matrix after torchao's rounding to nearest, dequantised."""
    linear = torch.nn.Linear(32, 24, bias=False)
    linear.weight = torch.nn.Parameter(matrix())
    granularity = PerAxis(0) if group == "row" else PerGroup(group)
    mapping = MappingType.SYMMETRIC if symmetric else MappingType.ASYMMETRIC
    config = IntxWeightOnlyConfig(getattr(torch, f"int{bits}"), granularity, mapping)
    quantize_(linear, config)
    return linear.weight.dequantize().tolist()


def tokenizer() -> PreTrainedTokenizerFast:
    """llm-compressor wants one, and uses it for nothing where the text is token ids already."""
    words = {f"w{index}": index for index in range(VOCABULARY)}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(words, unk_token="w0")), pad_token="w0")


def errors_of_llmcompressor(family: str, bits: int, group: int | str, act_order: bool) -> dict[str, float]:
    """Layer errors after GPTQ, on the inputs that the layers of the unquantised model get."""
    original = model_of(family)
    weights = {"num_bits": bits, "type": "int", "symmetric": True}
    weights |= {"strategy": "channel"} if group == "row" else {"strategy": "group", "group_size": group}
    recipe = GPTQModifier(
        config_groups={"all": {"targets": ["Linear"], "weights": weights}},
        ignore=["lm_head", "embed_out"],
        dampening_frac=0.01,
        actorder="static" if act_order else None,
    )
    with tempfile.TemporaryDirectory() as folder:  # llm-compressor reads a configuration from where a model lies
        original.save_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
        calibrate(model, recipe, PIPELINES[family])
    before, after = linear_layers(original), linear_layers(model)
    moments = input_moments(original, before.values(), [tokens()])
    return {
        name: layer_error(before[name], after[name].float(), moments.sums[before[name].data_ptr()]) for name in before
    }


def calibrate(model: Model, recipe: GPTQModifier, pipeline: str) -> None:
    """Run llm-compressor on the planted text."""
    rows = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in tokens().tolist()]
    oneshot(
        model=model,
        tokenizer=tokenizer(),
        dataset=Dataset.from_list(rows),
        recipe=recipe,
        num_calibration_samples=len(rows),
        shuffle_calibration_samples=False,
        pipeline=pipeline,
    )


def references() -> dict:
    """All numbers."""
    rtn = [[*case, rounded_by_torchao(*case)] for case in RTN_CASES]
    gptq = [[family, *case, errors_of_llmcompressor(family, *case)] for family in FAMILIES for case in GPTQ_CASES]
    return {"rtn": rtn, "gptq": gptq}


def rounded(value: Any) -> Any:
    """The same with floats in the nine digits that a float32 needs."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def differences(new: dict, old: dict) -> list[str]:
    """Cases in which two sets of numbers differ."""
    found = []
    for kind in ("rtn", "gptq"):
        for mine, stored in zip(new[kind], old[kind], strict=True):
            a, b = (torch.tensor(list(v[-1].values()) if isinstance(v[-1], dict) else v[-1]) for v in (mine, stored))
            if mine[:-1] != stored[:-1] or not torch.allclose(a, b, rtol=TOLERANCE, atol=1e-6):
                found.append(f"{kind} {mine[:-1]}")
    return found


def main() -> None:
    """Compare with the stored numbers, or write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="store what is found instead of comparing")
    args = parser.parse_args()
    new = json.loads(json.dumps(references()))
    if args.write:
        STORED.write_text(json.dumps(rounded(new)) + "\n")
        return
    found = differences(new, json.loads(STORED.read_text()))
    print(f"{len(new['rtn'])} cases of torchao, {len(new['gptq'])} of llm-compressor: ", end="")
    print("as stored" if not found else f"{len(found)} differ: " + "; ".join(found))
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
