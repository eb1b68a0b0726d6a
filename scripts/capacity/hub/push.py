"""Upload of a folder to the Hugging Face hub, or what would be uploaded."""

from glob import escape
from pathlib import Path

from httpx2 import HTTPError  # what the library of the hub speaks with it by
from huggingface_hub import HfApi, RepoCard
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from yaml import YAMLError

from capacity.errors import UserError
from capacity.hub.dataset_folder import CROISSANT


def push(folder: Path, repository: str, private: bool, dry_run: bool, replace: bool = False) -> list[str]:
    """Upload a folder with a card, as a model, or as a dataset where it has Croissant metadata; lines on what was done.

    dry_run: everything is checked here, and nothing is sent. replace: files there that the folder has not are removed,
    in the same commit. Raises UserError for a folder without a card and for a
    name that no repository can have.
    """
    try:
        validate_repo_id(repository)
        if "/" not in repository:
            raise HFValidationError("a repository belongs to somebody")
    except HFValidationError:
        raise UserError(f"{repository}: no name of a repository; give user/name") from None
    if not (folder / "README.md").is_file():
        raise UserError(f"{folder}: no README.md; `capacity hub` writes such a folder")
    try:
        if not RepoCard.load(folder / "README.md", ignore_metadata_errors=False).data.to_dict():
            raise ValueError("no metadata at its head")
    except (ValueError, TypeError, YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{folder}/README.md: is no card ({reason}); `capacity hub` writes one") from None
    kind = "dataset" if (folder / CROISSANT).is_file() else "model"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{path.relative_to(folder)}  {path.stat().st_size:,} bytes" for path in files]
    if dry_run:
        return [*lines, f"{kind} {repository}: {len(files)} files would be uploaded"]
    api = HfApi()
    try:
        api.create_repo(repository, repo_type=kind, private=private, exist_ok=True)
        if private and not api.repo_info(repository, repo_type=kind).private:
            raise UserError(
                f"{repository}: is there already, and public; nothing was sent; make it private on the hub, or give "
                "another name"
            )
        sent = {".gitattributes", *(path.relative_to(folder).as_posix() for path in files)}
        others = sorted(set(api.list_repo_files(repository, repo_type=kind)) - sent)
        commit = api.upload_folder(
            repo_id=repository,
            repo_type=kind,
            folder_path=folder,
            delete_patterns=[escape(name) for name in others] if replace and others else None,
        )
    except (OSError, HTTPError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{repository}: {api.endpoint} did not take it ({reason}); look at it there, then again"
        ) from None
    if others:
        what = "removed there" if replace else "still there, of an earlier upload; --replace removes them"
        lines.append(f"{', '.join(others)}: {what}")
    return [*lines, f"{kind} {repository}: {len(files)} files uploaded, {commit.commit_url}"]
