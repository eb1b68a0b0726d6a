"""From checked datasets and tokenizers to their specs: files are read, checked and named by content."""

import functools
import os
from pathlib import Path
from typing import Any

import pyarrow as pa

from capacity.artefacts.identity import SCRIPTS, file_digest, input_digest, time_and_size
from capacity.artefacts.spec import Spec, make_spec
from capacity.artefacts.stages import REWRITER_PACKAGES
from capacity.config.dataset import BioD, BioR, BioS, Dataset, LocalModel, People, Records
from capacity.config.scale import Scale
from capacity.config.tokenizer import Bpe, Tokenizer, Word
from capacity.environment import REPOSITORY
from capacity.errors import UserError
from capacity.plan.known_words import note_free_text, note_tokens, note_words
from capacity.rewriting.spec import RewritingSettings
from capacity.tokenizers.spec import TOKENIZER_FILE, OwnBpe, TokenizerSettings, WordVocabulary, read_tokenizer
from capacity.world.biod import BioDWorld
from capacity.world.bios import BioSWorld, make_grammar
from capacity.world.facts import check_names
from capacity.world.full_names import check_readings
from capacity.world.grammar import EOS_TOKEN, Grammar
from capacity.world.junk import check_names_left
from capacity.world.kinds import WorldSettings, read_world
from capacity.world.records import RecordsWorld, parts_of
from capacity.world.records_file import RecordsFile, forget_records, read_records, status

POOLS = SCRIPTS / "capacity" / "world" / "value_lists"


def counted(dataset: Dataset, name: str) -> Dataset:
    """A dataset of records with its columns and their number written out, read from the file; others as they are.

    name: in the configuration. Raises UserError for a file that cannot be used.
    """
    try:
        return _written_out(dataset)
    except UserError as error:
        raise UserError(f"datasets.{name}.{error}") from None


def _written_out(dataset: Dataset) -> Dataset:
    if not isinstance(dataset, Records):
        return dataset
    dataset = dataset.model_copy(update={"file": _plain_path(dataset.file)})
    return _counted(dataset.model_dump_json(), status(REPOSITORY / dataset.file))


def _plain_path(file: str) -> str:
    """A path in one way of writing it: ./facts.csv, and the whole path of one in this project, are facts.csv.

    What goes back by .. stays as it is: a link may stand before that.
    """
    place = Path(file)
    is_inside = place.is_relative_to(REPOSITORY) and ".." not in place.parts
    return (place.relative_to(REPOSITORY) if is_inside else place).as_posix()


@functools.cache
def _counted(text: str, _: tuple[int, int]) -> Records:
    """The same, read and checked wholly, once as long as the file stays as it is."""
    dataset = Records.model_validate_json(text)
    how = RecordsFile(**dataset.model_dump(include=set(RecordsFile.model_fields)))
    table = read_records(how)
    unknown = set(dataset.phrases) - set(table.column_names[1:])
    if unknown:
        raise UserError(
            f"phrases: {sorted(unknown)[0]!r} is no attribute; there are: {', '.join(table.column_names[1:])}"
        )
    counted = dataset.model_copy(update={"attributes": table.column_names[1:], "N": dataset.N or table.num_rows})
    world = RecordsWorld(**counted.model_dump(), seed=0, files={})
    _check_texts(world, table)
    grammar = parts_of(table, world)[1]
    note_words(world, grammar)
    note_free_text(world, grammar)
    note_tokens(world, table)
    forget_records()
    return counted


def _check_texts(world: RecordsWorld, table: pa.Table) -> None:
    """Refuse what no training can be made of. Raises UserError."""
    if table.num_rows == 1:
        raise UserError(f"file: {world.file} has one row that can be used; give two or more, and close every quote")
    for column in (world.entity, *world.attributes):
        texts = {*table[column].unique().to_pylist(), column, *world.phrases.get(column, ())}
        for text in texts:
            if EOS_TOKEN in text:
                raise UserError(f"{column}: {text!r} holds {EOS_TOKEN}, which ends every text here; write it without")


def dataset_slug(dataset: Dataset) -> str:
    """Readable; the digest behind it distinguishes datasets."""
    options = {"simple": "paragraphs", "junk": "junk", "tag": "tag"}
    kind = "-".join([dataset.kind, *(name for name, key in options.items() if getattr(dataset, key, None))])
    return f"{kind}-N{dataset.N}"


def dataset_specs(dataset: Dataset, seed: int, scale: Scale) -> tuple[Spec, Spec]:
    """A run's people, and what training reads: the same, or the texts of a rewriter about them."""
    slug, world = f"{dataset_slug(dataset)}-s{seed}", world_settings(dataset, seed)
    if not isinstance(dataset, BioR):
        people = make_spec("datasets", slug, world, {})
        return people, people
    if isinstance(world, BioSWorld) and world.value_lists:
        from capacity.rewriting.check import check_pools  # heavy

        check_pools(make_grammar(world))
    people = make_spec("datasets", f"bioS-N{dataset.N}-s{seed}", world, {})
    packages = REWRITER_PACKAGES.get(dataset.rewriter.kind, ())
    texts = rewriting_settings(dataset, seed, scale)
    return people, make_spec("rewritings", slug, texts, {"dataset": people.name}, packages=packages)


def tokenizer_spec(tokenizer: Tokenizer, dataset: Spec) -> Spec:
    """The tokenizer of what training reads."""
    slug = f"{tokenizer.kind}-{dataset.id.rpartition('-')[0]}"
    return make_spec("tokenizers", slug, tokenizer_settings(tokenizer), {"dataset": dataset.name})


def world_settings(dataset: Dataset, seed: int) -> WorldSettings:
    """The world as make_dataset reads it; files that it reads enter by content. Raises UserError for bad ones.

    Of bioR: the people whom its texts are about.
    """
    dataset = dataset.people() if isinstance(dataset, BioR) else _written_out(dataset)
    settings = {**dataset.model_dump(), "seed": seed}
    if isinstance(dataset, BioS):
        world = BioSWorld(**settings, files={})
        return world.model_copy(update={"files": _pool_digests("**/*.txt") | _own_files(world)})
    if isinstance(dataset, BioD):
        return BioDWorld(**settings, files=_pool_digests("*_names.txt") if dataset.wording == "sentence" else {})
    if isinstance(dataset, Records):
        files = {dataset.file: _digest(REPOSITORY / dataset.file)}
        return RecordsWorld(**settings, files=files)
    if isinstance(dataset, People):  # of a kind that reads no files
        settings["files"] = {}
    return read_world(settings)


def rewriting_settings(dataset: BioR, seed: int, scale: Scale | None = None) -> RewritingSettings:
    """The texts as rewrite_dataset reads them; a model's folder enters by content. Raises UserError without it.

    scale: on whose hardware a model writes.
    """
    settings = dataset.model_dump(include={"kind", "N", "rewritings", "rewriter", "flawed", "tries"})
    if dataset.flawed == "keep":
        settings["tries"] = 1
    files = {}
    if isinstance(dataset.rewriter, LocalModel):
        assert scale
        settings["rewriter"] |= {"accelerator": scale.accelerator, "precision": scale.precision}
        files = _model_digests(dataset.rewriter)
    return RewritingSettings(**settings, seed=seed, files=files)


def _model_digests(rewriter: LocalModel) -> dict[str, str]:
    """Path to content digest of a model in a folder; of one with a revision there is nothing to read."""
    folder = REPOSITORY / rewriter.model
    if rewriter.revision is not None:
        if os.path.isdir(folder):
            raise UserError(f"rewriter.revision: {rewriter.model} is a folder here, which counts by content; remove it")
        return {}
    if not os.path.isdir(folder):
        raise UserError(f"rewriter.model: {rewriter.model} is no folder here; a name needs a revision, its commit")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return {f"{rewriter.model.rstrip('/')}/{path.name}": _digest(path) for path in files}


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
        how |= {"folder": tokenizer.folder, "files": {f"{tokenizer.folder}/{path.name}": _digest(path)}}
    if tokenizer.compact:
        return read_tokenizer({**how, "rows": None})
    from capacity.tokenizers.published import published_rows  # heavy

    return read_tokenizer({**how, "rows": published_rows(path)})


def _own_files(world: BioSWorld) -> dict[str, str]:
    """Path to content digest of the user's value lists and templates. Raises UserError where they cannot be used."""
    given = [REPOSITORY / file for file in world.value_lists.values()]
    if world.template_folder:
        given += sorted((REPOSITORY / world.template_folder).glob("*.txt"))
    elif not given:
        return {}
    return _checked_files(world.model_copy(update={"seed": 0}).model_dump_json(), tuple(map(time_and_size, given)))


@functools.cache
def _checked_files(text: str, _: tuple[tuple[int, int], ...]) -> dict[str, str]:
    """The same of a world, read and checked once as long as its files stay as they are."""
    world = BioSWorld.model_validate_json(text)
    files, grammar = list(world.value_lists.values()), make_grammar(world)
    check_names(grammar, world.N)
    check_readings([grammar.pools[slot.pool] for slot in grammar.name])
    _check_end_token(grammar)
    note_words(world, grammar)
    if world.junk:
        check_names_left(grammar, world.N, world.junk.people)
    if world.template_folder:
        files += [f"{world.template_folder}/{attribute.name}.txt" for attribute in grammar.attributes]
    return {file: _digest(REPOSITORY / file) for file in files}


def _digest(path: Path) -> str:
    """What a file says, read once as long as it stays as it is. Raises OSError."""
    return _digest_of(path, time_and_size(path))


@functools.cache
def _digest_of(path: Path, _: tuple[int, int]) -> str:
    return input_digest(path)


def _check_end_token(grammar: Grammar) -> None:
    """Refuse values and templates that hold what ends every text. Raises UserError."""
    texts = {f"value_lists.{pool}": values for pool, values in grammar.pools.items()}
    texts |= {f"template_folder.{each.name}": sum(each.templates, ()) for each in grammar.attributes}
    for key, some in texts.items():
        for text in some:
            if EOS_TOKEN in text:
                raise UserError(f"{key}: {text!r} holds {EOS_TOKEN}, which ends every text here; write it without")


@functools.cache
def _pool_digests(pattern: str) -> dict[str, str]:
    """Path in the repository to content digest of shipped value lists."""
    return {path.relative_to(REPOSITORY).as_posix(): input_digest(path) for path in sorted(POOLS.glob(pattern))}
