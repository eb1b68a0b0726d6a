"""A folder for the hub from one row of a capacity table: weights, a tokenizer for people's hands, a card.

The tokenizer here differs from the artefact's in what it takes, not in what it makes of training's texts: it puts the
token at the start by itself, takes a text with or without its leading blank, and reads an unknown word as that token.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from huggingface_hub import EvalResult, ModelCardData
from tokenizers import Tokenizer, models, normalizers, processors
from transformers import pipeline

from capacity.artefacts.manifest import MANIFEST, verify
from capacity.artefacts.new_folder import new_folder
from capacity.errors import UserError
from capacity.hub.public import OWN, PROVENANCE, copy_public
from capacity.tables.naming import FULL_PRECISION
from capacity.tokenizers.tokenization import TOKENIZER_FILE, load_tokenizer
from capacity.world.facts import load_world
from capacity.world.grammar import EOS_TOKEN
from capacity.world.pieces import EOS_ID, FILLER
from capacity.world.sampling import probe_draws, training_draws
from capacity.world.text_renderer import renderer_of

# Column of the table -> its metric on the hub: name, and what it is.
METRICS = {
    "R": ("bits_per_parameter", "bits stored a parameter"),
    "bits_stored": ("bits_stored", "bits stored"),
    "R_max": ("bits_offered_per_parameter", "bits offered a parameter"),
    "accuracy": ("accuracy", "share of values given right by greedy decoding"),
    "accuracy_name": ("accuracy_name", "share of names given right by greedy decoding"),
}
CARD = """---
{data}
---

# {title}

A causal language model trained from scratch on {facts}, to measure how many bits of knowledge it stores a
parameter ([arXiv 2404.05405](https://arxiv.org/abs/2404.05405)). It knows nothing else.

{numbers}

## Ask it

```python
from transformers import pipeline

generate = pipeline("text-generation", model="{folder}"{trust})
print(generate({prompt!r}, max_new_tokens={answer_tokens}, do_sample=False)[0]["generated_text"])
```

It prints `{said}`; its training said `{taught}`. A text may begin with a blank or without one; the tokenizer puts
`{eos}` before it and {unknown}.

`provenance.json` says how the weights were made: code, packages, settings and inputs by their digests.
"""


UNKNOWN = {  # what a tokenizer makes of a text that no training had
    "word": f"reads words that are not of this world as `{EOS_TOKEN}`, too",
    "piece": "leaves out characters that no text of this world has; of other words and names it makes pieces for which "
    "the model may have no row, and which it then refuses as out of range",
}


@dataclass(frozen=True)
class Prompt:
    """The beginning of a biography, the value that follows, and how many tokens that has."""

    text: str
    value: str
    value_tokens: int


def write_model_folder(row: Mapping[str, Any], results: Path, output: Path, license: str, dataset: str | None) -> None:
    """Write the folder of a row's variant, which must not exist yet. dataset: its name on the hub, where it is there.

    Raises UserError where the folder exists, or where an artefact is missing or damaged.
    """
    with new_folder(output) as folder:
        stages = {"variants": "variant_id", "tokenizers": "tokenizer_id", "probes": "probe_id"}
        variant, words, probe = (results / stage / row[column] for stage, column in stages.items())
        for place in (variant, words):
            verify(place)
        world = world_of(row, results)
        for path in variant.iterdir():
            if path.name == MANIFEST:
                copy_public(path, folder / PROVENANCE)
            else:
                shutil.copyfile(path, folder / path.name)
        tokenizer = load_tokenizer(words)
        prompt = prompt_of(world, probe, tokenizer)
        for_people(tokenizer, blank=prompt.text.startswith(" ")).save(str(folder / TOKENIZER_FILE))
        unknown = UNKNOWN["word" if isinstance(tokenizer.model, models.WordLevel) else "piece"]
        (folder / "README.md").write_text(_card(row, folder, prompt, license, dataset, unknown), encoding="utf-8")


def world_of(row: Mapping[str, Any], results: Path) -> Path:
    """The folder of what a row's model read: people, or texts about them. Raises UserError for a damaged one."""
    world = results / str(verify(results / "probes" / row["probe_id"])["parents"]["dataset"])
    verify(world)
    return world


def refuse_own_model(variant: Path) -> None:
    """Refuse a variant of a factory's model. Raises UserError."""
    config = variant / "config.json"
    if config.is_file() and (factory := json.loads(config.read_text(encoding="utf-8")).get("factory")):
        raise UserError(
            f"{variant.name}: is a model of your own module {factory}, which such a folder does not hold, so that "
            "nobody could load it; publish the module and its weights yourself"
        )


def for_people(tokenizer: Tokenizer, blank: bool) -> Tokenizer:
    """The same tokenizer, which takes what people type. blank: whether texts of training begin with one."""
    content = json.loads(tokenizer.to_str())
    for token in content["added_tokens"]:
        token["normalized"] = not token["special"]  # a tag is looked for behind the blank that is put there
    tokenizer = Tokenizer.from_str(json.dumps(content))
    steps = [tokenizer.normalizer] if tokenizer.normalizer else []
    steps += [normalizers.Strip(left=True, right=False)] + ([normalizers.Prepend(" ")] if blank else [])
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{EOS_TOKEN} $A", special_tokens=[(EOS_TOKEN, EOS_ID)]
    )
    if isinstance(tokenizer.model, models.WordLevel):
        words = json.loads(tokenizer.to_str())["model"]["vocab"]
        tokenizer.model = models.WordLevel(words, unk_token=EOS_TOKEN)
    return tokenizer


def prompt_of(dataset: Path, probe: Path, tokenizer: Tokenizer) -> Prompt:
    """A biography of training up to its last value, of the person of whom the model gives most right.

    Of written texts one with most facts right, of a person of whom any is.
    """
    world = load_world(dataset)
    whole = world.rewritings is not None
    draws = probe_draws(world, world.seed, 0, 0, world.N) if whole else training_draws(world, world.seed, 0, 0)
    scores = pd.read_parquet(probe / "scores.parquet")
    known = scores.groupby("person")["exact"].mean().reindex(draws.people, fill_value=0.0)
    renderer = renderer_of(world, tokenizer, all_rows=True)
    best_first = np.argsort(-known.to_numpy(), kind="stable")
    rendered = (renderer.tokens(draws[place : place + 1], labels=True) for place in best_first)
    tokens, labels = next(
        (each.tokens.tolist(), each.labels)
        for each in rendered
        if each.labels is not None and (each.labels > FILLER).any()
    )
    stop = int(np.flatnonzero(labels > FILLER)[-1]) + 1
    start = stop
    while labels[start - 1] == labels[stop - 1]:
        start -= 1
    text, value = (tokenizer.decode(part) for part in (tokens[:start], tokens[start:stop]))
    return Prompt(text, value, stop - start)


def _card(row: Mapping[str, Any], output: Path, prompt: Prompt, license: str, dataset: str | None, unknown: str) -> str:
    """The card, with what the model of the written folder really says."""
    trust: dict[str, Any] = {"trust_remote_code": True} if any(output.glob("*.py")) else {}
    words = prompt.text.strip()
    generate = pipeline("text-generation", model=str(output), device="cpu", **trust)
    (answer,) = generate(words, max_new_tokens=prompt.value_tokens, do_sample=False)
    own = row["kind"] == OWN
    title = f"{row['model']} on {row['dataset']}, {row['regime']}" + (f", {row['setting']}" if row["setting"] else "")
    title += f", {row['scheme']}" if row["scheme"] != FULL_PRECISION else ""
    data = ModelCardData(
        model_name=title,
        language=None if own else "en",
        license=license,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["knowledge-capacity", *([] if own else ["synthetic"])],
        datasets=[dataset] if dataset else None,
        eval_results=_results(row),
    )
    lines = ["| | |", "|---|---|", f"| {'rows' if own else 'people'} | {row['N']:,} |"]
    lines += [f"| exposures of each | {row['exposures']:,} |", f"| parameters | {row['P']:,} |"]
    lines += [f"| {text} | {row[column]:.4g} |" for column, (_, text) in METRICS.items()]
    return CARD.format(
        unknown=unknown,
        data=data.to_yaml().strip(),
        title=title,
        facts="a table of facts" if own else "synthetic facts",
        numbers="\n".join(lines),
        folder=output.name,
        trust=", trust_remote_code=True" if trust else "",
        prompt=words,
        answer_tokens=prompt.value_tokens,
        said=answer["generated_text"].strip(),
        taught=f"{words}{prompt.value}".strip(),
        eos=EOS_TOKEN,
    )


def _results(row: Mapping[str, Any]) -> list[EvalResult]:
    """The probe's numbers as a model-index has them."""
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=str(row["dataset_id"]),
            dataset_name=f"{row['dataset']}, N = {row['N']}",
            metric_type=kind,
            metric_name=text,
            metric_value=float(row[column]),
        )
        for column, (kind, text) in METRICS.items()
    ]
