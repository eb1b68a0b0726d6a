"""A quantised variant with its weights packed, in the format of compressed-tensors, which inference tools load.

A variant of results/variants holds dequantised weights, so that any tool reads it at full size. The packed form holds
the same weights in their few bits: integers, symmetric, a scale a row or a group of inputs, of torch.nn.Linear layers.
That is what `pack-quantized` can say; embeddings, other formats and zero points it cannot.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from capacity.artefacts.new_folder import new_folder
from capacity.errors import UserError
from capacity.models.build import OWN_CLASSES, load_model
from capacity.models.external import one_line
from capacity.quantization.spec import Integers, Scheme, Unquantized, read_scheme

WRITTEN = ("config.json", "model.safetensors", "manifest.json", "README.md", "quantization.json")


def export_packed(variant: Path, output: Path) -> None:
    """Write a variant's folder in packed form to an output folder, which must not exist yet.

    `AutoModelForCausalLM.from_pretrained(output)` gives the variant's model where compressed-tensors is installed.
    Raises UserError where the folder is no variant, where the scheme or the model cannot be packed, and where a weight
    or the model would be read otherwise than the variant has it.
    """
    try:
        scheme = read_scheme(json.loads((variant / "quantization.json").read_text())["scheme"])
    except FileNotFoundError:
        raise UserError(f"{variant}: no quantization.json; name a folder of results/variants") from None
    integers = _packable(variant, scheme)
    with new_folder(output) as folder:
        _write_packed(variant, integers, folder)


def _write_packed(variant: Path, integers: Integers, folder: Path) -> None:
    model = load_model(variant)
    if type(model) in OWN_CLASSES.values():
        raise UserError(f"{variant}: {type(model).__name__} is this project's own class, which no other tool loads")
    state, packed = _pack(model, integers, load_file(variant / "quantization.safetensors"))
    config = json.loads((variant / "config.json").read_text())
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # safetensors makes files that only their owner may read
    (folder / "config.json").write_text(
        json.dumps(config | _described(model, integers, packed), indent=1) + "\n", encoding="utf-8"
    )
    for path in variant.iterdir():
        if path.is_file() and path.name not in WRITTEN and path.suffix != ".safetensors":
            shutil.copyfile(path, folder / path.name)
    _check_loads(folder, model)


def _packable(variant: Path, scheme: Scheme) -> Integers:
    """The numbers of a scheme. Raises UserError where they cannot be packed."""
    if isinstance(scheme, Unquantized):
        what = "none"
    elif not isinstance(scheme.numbers, Integers):
        what = scheme.numbers.format
    elif not scheme.numbers.symmetric:
        what = "an asymmetric scheme"
    elif scheme.numbers.group == "tensor":
        what = "a scale for a whole tensor"
    elif scheme.numbers.scale_format != "fp32" or scheme.rest:
        what = "16-bit scales or rest"
    else:
        return scheme.numbers
    raise UserError(f"{variant}: {what} has no packed form here; use symmetric integers, a scale a row or a group")


def _pack(model: PreTrainedModel, integers: Integers, parts: dict[str, Tensor]) -> tuple[dict[str, Tensor], set[str]]:
    """The packed state of a model, and the names of its packed modules. parts: scales by `<tensor>.scale`."""
    modules = dict(model.named_modules())
    state = dict(model.named_parameters())  # a tied one once
    packed = set()
    for name, scale in parts.items():
        module = name.removesuffix(".weight.scale")
        if not isinstance(modules.get(module), nn.Linear):
            is_conv1d = isinstance(modules.get(module), Conv1D)
            remedy = "use a model of nn.Linear layers, such as LLaMA's" if is_conv1d else "use tensors: [linear]"
            raise UserError(f"{name.removesuffix('.scale')}: quantised and of no nn.Linear; {remedy}")
        weight = state.pop(f"{module}.weight").detach()
        local = PackedQuantizationCompressor.compress({"weight": weight, "weight_scale": scale}, _packing(integers))
        unpacked = PackedQuantizationCompressor.decompress(dict(local), _packing(integers))["weight"]
        if not torch.equal(unpacked, weight):
            raise UserError(f"{module}.weight: would be unpacked otherwise than the variant has it")
        state |= {f"{module}.{part}": tensor for part, tensor in local.items()}
        packed.add(module)
    return {name: tensor.detach().contiguous() for name, tensor in state.items()}, packed


def _check_loads(folder: Path, model: PreTrainedModel) -> None:
    """Raises UserError where transformers does not read the folder as the model: some ask layers for their weights."""
    tokens = torch.arange(min(8, model.config.vocab_size))[None]
    remedy = "name the variant's folder itself to other tools, which any of them loads at full size"
    try:
        loaded = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
        with torch.no_grad():
            is_same = torch.allclose(loaded(tokens).logits, model(tokens).logits, rtol=1e-4, atol=1e-5)
    except Exception as error:  # of whatever code the model has
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise UserError(f"{type(model).__name__}: cannot be loaded packed ({reason}); {remedy}") from error
    if not is_same:
        raise UserError(f"{type(model).__name__}: would give other logits where it is loaded packed; {remedy}")


def _packing(integers: Integers) -> QuantizationScheme:
    group = None if integers.group == "row" else integers.group
    strategy = "group" if group else "channel"
    weights = QuantizationArgs(num_bits=integers.bits, type="int", symmetric=True, strategy=strategy, group_size=group)
    return QuantizationScheme(targets=["Linear"], weights=weights)


def _described(model: PreTrainedModel, integers: Integers, packed: set[str]) -> dict[str, Any]:
    """What config.json says of the packing; linear layers that are not packed are named."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    described = QuantizationConfig(
        config_groups={"group_0": _packing(integers)},
        ignore=[name for name in linear if name not in packed],
        format="pack-quantized",
        quantization_status="compressed",
    )
    return {"quantization_config": described.model_dump(mode="json") | {"quant_method": "compressed-tensors"}}
