"""From checked datasets and tokenizers to their specs: files are read, checked and named by content."""

import functools
import os
from typing import Any

from capacity.artefacts.identity import SCRIPTS, file_digest, input_digest
from capacity.config.dataset import BioD, BioR, BioS, Dataset, LocalModel, Records
from capacity.config.scale import Scale
from capacity.config.tokenizer import Bpe, Tokenizer, Word
from capacity.environment import REPOSITORY
from capacity.errors import UserError
from capacity.tokenizers.spec import TOKENIZER_FILE, OwnBpe, TokenizerSettings, WordVocabulary, read_tokenizer

POOLS = SCRIPTS / "capacity" / "world" / "value_lists"


def counted(dataset: Dataset) -> Dataset:
    """A dataset of records with its columns and their number written out, read from the file; others as they are.

    Raises UserError for a file that cannot be told.
    """
    if not isinstance(dataset, Records):
        return dataset
    from capacity.world.records import status  # heavy; imported only where there is a file to read

    return _counted(dataset.model_dump_json(), status(REPOSITORY / dataset.file))


@functools.cache
def _counted(text: str, _: tuple[int, int]) -> Records:
    """The same, read and checked wholly, once as long as the file stays as it is."""
    from capacity.world.records import forget_records, parts_of, read_records

    dataset = Records.model_validate_json(text)
    table = read_records(dataset.model_dump())
    unknown = set(dataset.phrases) - set(table.column_names[1:])
    if unknown:
        raise UserError(
            f"phrases: {sorted(unknown)[0]!r} is no attribute; there are: {', '.join(table.column_names[1:])}"
        )
    counted = dataset.model_copy(update={"attributes": table.column_names[1:], "N": dataset.N or table.num_rows})
    parts_of(table, counted.model_dump())
    forget_records()
    return counted


def world_spec(dataset: Dataset, seed: int) -> dict[str, Any]:
    """The world as make_dataset reads it; files that it reads enter by content. Raises UserError for bad ones.

    Of bioR: the people whom its texts tell.
    """
    dataset = dataset.people() if isinstance(dataset, BioR) else counted(dataset)
    settings = {**dataset.model_dump(), "seed": seed}
    if isinstance(dataset, BioS):
        settings["files"] = _pool_digests("**/*.txt") | _own_files(dataset, settings)
    elif isinstance(dataset, Records):
        from capacity.world.records import status

        settings["files"] = {dataset.file: _table_digest(dataset.file, status(REPOSITORY / dataset.file))}
    elif isinstance(dataset, BioD) and dataset.wording == "sentence":
        settings["files"] = _pool_digests("*_names.txt")
    return settings


def rewriting_spec(dataset: BioR, seed: int, scale: Scale) -> dict[str, Any]:
    """The texts as rewrite_dataset reads them; a model's folder enters by content. Raises UserError without it."""
    settings = dataset.model_dump(include={"kind", "N", "rewritings", "rewriter", "flawed", "tries"}) | {"seed": seed}
    if settings["flawed"] == "keep":
        del settings["tries"]
    rewriter = dataset.rewriter
    if isinstance(rewriter, LocalModel):
        settings["rewriter"] |= {"accelerator": scale.accelerator, "precision": scale.precision}
        folder = REPOSITORY / rewriter.model
        if os.path.isdir(folder) and rewriter.revision is None:
            files = sorted(path for path in folder.iterdir() if path.is_file())
            settings["files"] = {f"{rewriter.model.rstrip('/')}/{path.name}": input_digest(path) for path in files}
        elif rewriter.revision is None:
            raise UserError(f"rewriter.model: {rewriter.model} is no folder here; a name needs a revision, its commit")
    return settings


def tokenizer_settings(tokenizer: Tokenizer) -> TokenizerSettings:
    """The tokenizer as make_tokenizer reads it; a published one enters by content. Raises UserError without it."""
    if isinstance(tokenizer, Word):
        return WordVocabulary(kind="word")
    if isinstance(tokenizer, Bpe):
        return OwnBpe(**tokenizer.model_dump())
    how: dict[str, Any] = {"kind": tokenizer.kind, "compact": tokenizer.compact}
    if tokenizer.name is not None and tokenizer.revision is not None:
        from capacity.tokenizers.published import named_file  # heavy

        path = named_file(tokenizer.name, tokenizer.revision)
        how |= {"name": tokenizer.name, "revision": tokenizer.revision, "sha256": file_digest(path)}
    else:
        path = REPOSITORY / str(tokenizer.folder) / TOKENIZER_FILE
        if not path.is_file():
            raise UserError(f"folder: {tokenizer.folder} has no tokenizer.json; give the folder of a tokenizer")
        how |= {"folder": tokenizer.folder, "files": {f"{tokenizer.folder}/{path.name}": input_digest(path)}}
    if tokenizer.compact:
        return read_tokenizer({**how, "rows": None})
    from capacity.tokenizers.published import published_rows  # heavy

    return read_tokenizer({**how, "rows": published_rows(path)})


def _own_files(dataset: BioS, settings: dict[str, Any]) -> dict[str, str]:
    """Path to content digest of the user's value lists and templates. Raises UserError where they cannot be used."""
    files = list(dataset.value_lists.values())
    if not files and not dataset.template_folder:
        return {}
    from capacity.world.bios import make_grammar  # heavy; read only where there are files to check
    from capacity.world.facts import check_names
    from capacity.world.junk import check_names_left

    grammar = make_grammar(settings)
    check_names(grammar, dataset.N)
    if dataset.junk:
        check_names_left(grammar, dataset.N, dataset.junk.people)
    if dataset.template_folder:
        files += [f"{dataset.template_folder}/{attribute.name}.txt" for attribute in grammar.attributes]
    return {file: input_digest(REPOSITORY / file) for file in files}


@functools.cache
def _table_digest(file: str, _: tuple[int, int]) -> str:
    """The digest of a table, which may be large, once as long as it stays as it is."""
    return input_digest(REPOSITORY / file)


@functools.cache
def _pool_digests(pattern: str) -> dict[str, str]:
    """Path in the repository to content digest of shipped value lists."""
    return {path.relative_to(REPOSITORY).as_posix(): input_digest(path) for path in sorted(POOLS.glob(pattern))}
