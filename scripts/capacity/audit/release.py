"""A release: one archive with configuration, tables, figures, manifests, report and crate, to be audited elsewhere.

The files of some stages may be left out; their digests stand in the manifests. What is unpacked is data alone: only
plain files, inside one folder, of a stated size, and nothing of it is ever executed.
"""

import gzip
import json
import shutil
import tarfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from capacity.artefacts.identity import file_digest
from capacity.artefacts.manifest import MANIFEST, list_outputs
from capacity.artefacts.stages import STAGES
from capacity.audit.bounded_tar import BoundedArchive, OutOfBounds
from capacity.audit.engine import config_text
from capacity.audit.findings import Level
from capacity.audit.folder import Folder, Output, Published, is_inside, is_plain_file
from capacity.audit.signing import SUFFIX, sign, signer
from capacity.config.experiment import Config
from capacity.environment import REPOSITORY, git_state
from capacity.errors import UserError

LISTING, CONFIG, SCHEMA = "release.json", "config.json", 1
SOURCES = (
    *("Snakefile", "rules", "scripts", "report", "profiles", "slurm", "envs", "docs"),
    *("claims.yaml", "README.md", "LICENSE"),
)
BESIDE = ("runs.csv", "audit/audit.json", "audit/audit.md")  # of results, besides artefacts and their copies
LARGEST, MOST = 64 * 2**30, 2_000_000  # bytes, and files and folders, that an archive may unpack to
LONGEST, DEEPEST = 1_000, 30  # characters and folders of a path in an archive
ALL = "all"


class Listing(BaseModel):
    """What a release says of itself: release.json."""

    model_config = ConfigDict(strict=True, extra="forbid")

    schema_: int
    commit: str | None
    left_out: list[str]  # stages whose files are not in the archive
    published: list[Published]
    files: dict[str, Output]


@dataclass
class Unpacked:
    """A release on the auditor's machine, and what is wrong with it as an archive."""

    root: Path
    listing: Listing
    level: Level = field(default_factory=lambda: Level(1))

    @property
    def results(self) -> Path:
        return self.root / "results"


# --- packing


def pack(folder: Folder, config: Config, kept: list[str], target: Path, key: Path | None, scratch: Path) -> int:
    """Write a release; how many files it has. kept: stages whose files go in besides what is published, or "all".

    Raises UserError for what is no stage.
    """
    from capacity.audit.crate import RunCrate  # imported late: an audit needs no crate

    unknown = [stage for stage in kept if stage not in STAGES and stage != ALL]
    if unknown:
        raise UserError(f"WITH={unknown[0]}: no stage; stages are {', '.join(STAGES)}, or {ALL}")
    root = scratch / "release"
    root.mkdir()
    whole = set(STAGES) if ALL in kept else {*kept, *(each.stage for each in folder.published)}
    _copy_sources(root)
    (root / CONFIG).write_text(config_text(config), encoding="utf-8")
    left_out = _copy_results(folder, whole, root)
    released = Folder(root / "results", folder.artefacts, {}, folder.published)
    RunCrate(root, released, "Knowledge capacity of language models", _description(config)).write()
    content = {
        "schema_": SCHEMA,
        "commit": git_state()["commit"],
        "left_out": left_out,
        "published": [each.model_dump() for each in folder.published],
        "files": list_outputs(root),
    }
    (root / LISTING).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if key is not None:
        sign(root / LISTING, key)
    return _write_archive(root, target)


def _description(config: Config) -> str:
    questions = [config.studies[name].question for name in config.study if name in config.studies]
    return "How many bits a language model stores a parameter. " + " ".join(questions)


def _copy_sources(root: Path) -> None:
    """The workflow as it stands; the configuration that was asked for goes into config.json."""
    for source in (REPOSITORY / name for name in SOURCES):
        if source.is_dir():
            shutil.copytree(source, root / source.name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"))
        elif source.is_file():
            shutil.copyfile(source, root / source.name)


def _copy_results(folder: Folder, whole: set[str], root: Path) -> list[str]:
    """Copy what goes in; the stages of which something was left out."""
    left_out = set()
    for name in folder.lineage(folder.roots()):
        artefact = folder.artefacts[name]
        names = [MANIFEST, *(artefact.manifest.outputs if artefact.stage in whole else ())]
        if artefact.stage not in whole and artefact.manifest.outputs:
            left_out.add(artefact.stage)
        for file in names:
            _copy(artefact.folder / file, root / "results" / name / file)
        spec = folder.results / "specs" / f"{artefact.id}.json"
        if is_plain_file(spec):
            _copy(spec, root / "results" / "specs" / spec.name)
    copies = [path for each in folder.published for path in (*each.files.values(), each.id_file)]
    for path in [*copies, *BESIDE]:
        if is_plain_file(folder.results / path):
            _copy(folder.results / path, root / "results" / path)
    return sorted(left_out)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _write_archive(root: Path, target: Path) -> int:
    """The same files give the same bytes: sorted, without times, owners and modes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    files = sorted(path for path in root.rglob("*") if path.is_file())
    try:
        with (
            open(part, "wb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path in files:
                entry = tarfile.TarInfo(f"release/{path.relative_to(root).as_posix()}")
                entry.size, entry.mode = path.stat().st_size, 0o644
                with open(path, "rb") as file:
                    archive.addfile(entry, file)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return len(files)


# --- unpacking


def unpack(archive: Path, target: Path, signers: Path | None) -> Unpacked:
    """Unpack a release into an empty folder. Raises UserError for anything that is not one, before writing outside."""
    try:
        with BoundedArchive.open(archive, "r:gz") as tar:
            _extract(tar, archive, target)
    except FileNotFoundError:
        raise UserError(f"ARCHIVE={archive}: no such file") from None
    except UserError:
        raise
    except OutOfBounds as error:
        raise UserError(f"ARCHIVE={archive}: refused: {error}") from None
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RecursionError) as error:
        raise UserError(f"ARCHIVE={archive}: not a release: no readable tar.gz ({str(error)[:100]!r})") from None
    root = target / "release"
    unpacked = Unpacked(root, _read_listing(root / LISTING, archive))
    _check_listing(unpacked)
    _check_signature(unpacked, signers)
    return unpacked


def _extract(tar: tarfile.TarFile, archive: Path, target: Path) -> None:
    """Plain files below release/, each once, within bounds; anything else refuses the whole archive."""
    free, total, seen = shutil.disk_usage(target.parent).free, 0, set[Path]()
    for number, entry in enumerate(tar, start=1):
        tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every one, and nothing here asks for them
        name = entry.name
        why = ""
        if number > MOST:
            raise UserError(f"ARCHIVE={archive}: refused: more than {MOST:,} files and folders")
        if entry.isdir() and (is_inside(name) or name in (".", "release")):
            continue
        if not is_inside(name) or "\\" in name or not name.startswith("release/"):
            why = "leaves its folder"
        elif not entry.isreg():
            why = "is no plain file"
        elif not name.isprintable():
            why = "holds characters that control a terminal, or none"
        elif len(name) > LONGEST or name.count("/") > DEEPEST:
            why = f"is longer than {LONGEST:,} characters or deeper than {DEEPEST} folders"
        elif Path(name) in seen:
            why = "stands in it twice"
        total += max(entry.size, 0)
        if why:
            raise UserError(f"ARCHIVE={archive}: refused: {name[:120]!r} {why}")
        if total > min(LARGEST, free):
            raise UserError(f"ARCHIVE={archive}: refused: more than {LARGEST:,} bytes or the disk's room")
        seen.add(Path(name))
        tar.extract(entry, target, set_attrs=False, filter="data")


def _read_listing(path: Path, archive: Path) -> Listing:
    try:
        raw = json.loads(path.read_bytes())
        known = isinstance(raw, dict) and raw.get("schema_") == SCHEMA
        listing = Listing.model_validate(raw) if known else None
    except FileNotFoundError:
        raise UserError(f"ARCHIVE={archive}: not a release: it has no {LISTING}") from None
    except (ValueError, RecursionError) as error:
        first = str(error).splitlines()[0][:120]
        raise UserError(f"ARCHIVE={archive}: not a release: {LISTING} is not one ({first})") from None
    if listing is None:
        raise UserError(f"ARCHIVE={archive}: {LISTING} has another schema than {SCHEMA}; use the version that made it")
    places = [*listing.files, *(path for each in listing.published for path in (*each.files.values(), each.id_file))]
    for place in places:
        if not is_inside(place):
            raise UserError(f"ARCHIVE={archive}: refused: {LISTING} names {place[:120]!r}, outside its folder")
    if unknown := [stage for each in listing.published if (stage := each.stage) not in STAGES]:
        raise UserError(f"ARCHIVE={archive}: this code knows no stage {unknown[0][:40]!r}; check out {listing.commit}")
    return listing


def _check_listing(unpacked: Unpacked) -> None:
    """Every file is listed, every listed file is there with its bytes."""
    listed, level = unpacked.listing.files, unpacked.level
    present = {path.relative_to(unpacked.root).as_posix() for path in unpacked.root.rglob("*") if path.is_file()}
    for name in sorted(present - listed.keys() - {LISTING, LISTING + SUFFIX}):
        level.fault("extra file", name, f"is in the archive and not in {LISTING}")
    for name in sorted(listed.keys() - present):
        level.fault("missing file", name, f"is in {LISTING} and not in the archive")
    for name in sorted(present & listed.keys()):
        if file_digest(unpacked.root / name) != listed[name].sha256:
            level.fault("bytes differ", name, f"holds other bytes than {LISTING} says")
    level.facts["files of the release"] = len(listed)
    level.facts["left out of the release"] = unpacked.listing.left_out or "nothing"


def _check_signature(unpacked: Unpacked, signers: Path | None) -> None:
    path, level = unpacked.root / LISTING, unpacked.level
    if not path.with_name(LISTING + SUFFIX).is_file():
        level.facts["signature"] = "none"
        if signers is not None:
            level.fault("not signed", LISTING, f"has no signature, and {signers} names who should have signed")
        return
    try:
        who = signer(path, signers)
    except ValueError as error:
        level.fault("wrong signature", LISTING + SUFFIX, str(error))
        return
    level.facts["signature"] = f"by {who}" + ("" if signers else ", whom nobody vouches for; give SIGNERS=file")
