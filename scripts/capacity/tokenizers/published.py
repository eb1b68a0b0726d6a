"""Published BPE tokenizers, such as GPT-2's, LLaMA's or Mistral's, from a folder or from Hugging Face's cache.

Nothing is downloaded, unless the variable HF_HUB_OFFLINE is 0.
"""

import json
import os
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from capacity.artefacts.identity import file_digest
from capacity.environment import REPOSITORY
from capacity.errors import UserError
from capacity.tokenizers.spec import TOKENIZER_FILE, NamedBpe, PublishedBpe
from capacity.world.grammar import EOS_TOKEN

PARTS = ("normalizer", "pre_tokenizer", "decoder")  # which a file may leave out
ENDS = (EOS_TOKEN, "</s>", "<|end_of_text|>", "<eos>")  # as published vocabularies write it


def read_published(settings: PublishedBpe) -> tuple[Tokenizer, list[str]]:
    """The tokenizer of a spec, without what it puts around a text, and its rows. Raises UserError for a bad one."""
    if isinstance(settings, NamedBpe):
        path = named_file(settings.name, settings.revision)
        if settings.sha256 != file_digest(path):
            raise UserError(f"name: {path} changed since the run began; start the run again")
    else:
        path = REPOSITORY / settings.folder / TOKENIZER_FILE
    state = _published(path)
    rows = _rows(state)
    return _plain(state, path), rows


def named_file(repository: str, revision: str) -> Path:
    """A published tokenizer by name. Raises UserError for one that is not in Hugging Face's cache."""
    from huggingface_hub import hf_hub_download  # heavy; imported only where a repository is named
    from huggingface_hub.errors import LocalEntryNotFoundError

    offline = os.environ.get("HF_HUB_OFFLINE") != "0"
    try:
        return Path(hf_hub_download(repository, TOKENIZER_FILE, revision=revision, local_files_only=offline))
    except (OSError, ValueError) as error:
        absent = "it is not in Hugging Face's cache here"
        reason = absent if isinstance(error, LocalEntryNotFoundError) else " ".join(str(error).split())[:200]
        raise UserError(
            f"name: {repository} at {revision[:12]}: {reason}; "
            f"download it once: hf download {repository} {TOKENIZER_FILE} --revision {revision}"
        ) from None


def published_rows(path: Path) -> int:
    """How many rows a model has for a published tokenizer.json, EOS included. Raises UserError for a bad one."""
    return len(_rows(_published(path)))


def _published(path: Path) -> dict[str, Any]:
    """The content of a tokenizer.json, with all its parts. Raises UserError where it is no BPE tokenizer.

    Old files, GPT-2's own among them, do not say their kind: a vocabulary with merges is BPE.
    """
    try:
        state = dict.fromkeys(PARTS) | json.loads(path.read_text(encoding="utf-8"))
        model = state["model"]
        kind = model.setdefault("type", "BPE") if "merges" in model and "vocab" in model else model["type"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no tokenizer ({error}); give one with a tokenizer.json") from None
    if kind != "BPE":
        raise UserError(f"{path} is a {kind} tokenizer; use a BPE one, such as GPT-2's, LLaMA's or Mistral's")
    if not isinstance(model.get("vocab"), dict) or not isinstance(model.get("merges"), list):
        raise UserError(f"{path} is a BPE tokenizer without a vocabulary or merges; give a whole one")
    return state


def _rows(state: dict[str, Any]) -> list[str]:
    """All tokens of a published tokenizer in their order, after the one that ends a text, which is added if need be."""
    vocabulary = state["model"]["vocab"]
    added = [each["content"] for each in state.get("added_tokens") or []]
    tokens = dict.fromkeys([*sorted(vocabulary, key=vocabulary.__getitem__), *added])
    end = next((each for each in ENDS if each in tokens), EOS_TOKEN)
    return [end, *(token for token in tokens if token != end)]


def _plain(state: dict[str, Any], path: Path) -> Tokenizer:
    """The tokenizer without what it puts around a text: our texts begin with the blank that some put there."""
    state |= {"post_processor": None, "truncation": None, "padding": None, "added_tokens": []}
    state["model"] |= {"unk_token": None, "fuse_unk": False, "dropout": None}
    for part in _parts(state["pre_tokenizer"], "pretokenizers"):
        if part["type"] == "Metaspace":
            part["prepend_scheme"] = "never"
        if part["type"] == "ByteLevel":
            part["add_prefix_space"] = False
    state["normalizer"] = _without(state["normalizer"], "normalizers", "Prepend")
    state["decoder"] = _without(state["decoder"], "decoders", "Strip")
    for part in _parts(state["decoder"], "decoders"):
        if part["type"] == "Metaspace":
            part["prepend_scheme"] = "never"
    try:
        return Tokenizer.from_str(json.dumps(state))
    except Exception as error:  # tokenizers raises plain Exception
        raise UserError(f"{path}: {error}") from None


def _parts(component: dict[str, Any] | None, plural: str) -> list[dict[str, Any]]:
    """The members of a component of a tokenizer.json, which may be none, one, or a sequence."""
    if component is None:
        return []
    return component[plural] if component["type"] == "Sequence" else [component]


def _without(component: dict[str, Any] | None, plural: str, kind: str) -> dict[str, Any] | None:
    kept = [part for part in _parts(component, plural) if part["type"] != kind]
    return {"type": "Sequence", plural: kept} if kept else None
