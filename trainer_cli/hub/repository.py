"""What the Hugging Face Hub holds, asked once and without the minute of retries of the hub's own clients."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from trainer_cli.config.errors import UserError, missing_extra

Kind = Literal["model", "dataset"]

TIMEOUT = 10
"""Seconds that the hub has for its first answer."""


@functools.cache
def reachable(repo: str, kind: Kind) -> bool:
    """Whether the hub answers for a repository; raises UserError where the answer is that it has none."""
    hub = _client()
    try:
        with _refusals(repo, kind):
            hub.HfApi().repo_info(repo, repo_type=kind, timeout=TIMEOUT)
    except UserError:
        raise
    except Exception:  # the HTTP library below raises kinds of its own, which change with the hub's version
        return False
    return True


@contextmanager
def _refusals(repo: str, kind: Kind) -> Iterator[None]:
    """Within it, what the hub says against giving a repository is a UserError."""
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repo}"
    try:
        yield
    except HFValidationError:
        raise UserError(
            f"{repo} is neither a directory nor the name of a {kind} on the hub",
            right="a hub id reads NAME or ORGANISATION/NAME",
        ) from None
    except GatedRepoError:
        raise UserError(
            f"{repo} asks for its terms to be accepted first",
            right=f"accept them at {page}, then: hf auth login",
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"the hub has no {kind} {repo}, or it is private",
            right="check the name; for a private one: hf auth login",
        ) from None


def out_of_reach(what: str, right: str) -> UserError:
    """The error for something that is neither in the hub's cache nor to be had."""
    settings = _client().constants
    why = " (HF_HUB_OFFLINE is set)" if settings.HF_HUB_OFFLINE else ""
    return UserError(
        f"{what}: the hub cannot be reached{why}, and its cache {settings.HF_HUB_CACHE} does not hold it",
        right=right,
    )


def cached(repo: str, kind: Kind, *files: str) -> str | None:
    """The directory of the cached copy of a repository, if one of these files is in it."""
    for file in files:
        found = _client().try_to_load_from_cache(repo, file, repo_type=kind)
        if isinstance(found, str):
            return str(Path(found).parent)
    return None


def model_file(repo: str, file: str) -> Path | None:
    """The local copy of a model's file, downloaded where the cache has none; None where there is none."""
    hub = _client()
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    offline = not reachable(repo, "model")
    try:
        with _refusals(repo, "model"):
            return Path(hub.hf_hub_download(repo, file, local_files_only=offline))
    except LocalEntryNotFoundError:
        raise out_of_reach(f"{repo}, {file}", "a directory that save_pretrained wrote") from None
    except EntryNotFoundError:
        return None


def dataset_file(uri: str) -> Path:
    """The local copy of `hf://datasets/ORGANISATION/NAME/PATH`, downloaded where the cache has none."""
    parts = uri.removeprefix("hf://datasets/").split("/", 2)
    if not uri.startswith("hf://datasets/") or len(parts) < 3 or not all(parts) or ".." in uri.split("/"):
        raise UserError(f"{uri} is no file on the hub", right="hf://datasets/ORGANISATION/NAME/PATH")
    repo, file = "/".join(parts[:2]), parts[2]
    hub = _client()
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    offline = not reachable(repo, "dataset")
    try:
        with _refusals(repo, "dataset"):  # who has not accepted its terms may know of it all the same
            return Path(hub.hf_hub_download(repo, file, repo_type="dataset", local_files_only=offline))
    except LocalEntryNotFoundError:
        raise out_of_reach(uri, "a file on this machine does without the hub") from None
    except EntryNotFoundError:
        raise UserError(f"the dataset {repo} on the hub has no file {file}") from None


def dataset_folder(repo: str, folder: str, right: str) -> Path:
    """The local copy of one folder of a dataset; `right` is what would do where the hub is out of reach."""
    hub = _client()
    from huggingface_hub.errors import LocalEntryNotFoundError

    offline = not reachable(repo, "dataset")
    try:
        with _refusals(repo, "dataset"):
            root = hub.snapshot_download(
                repo, repo_type="dataset", allow_patterns=[f"{folder}/*"], local_files_only=offline
            )
    except LocalEntryNotFoundError:
        raise out_of_reach(f"{repo}, {folder}", right) from None
    local = Path(root) / folder
    if not local.is_dir():
        if offline:
            raise out_of_reach(f"{repo}, {folder}", right)
        raise UserError(f"the dataset {repo} on the hub has no folder {folder}", right=right)
    return local


def _client() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise missing_extra("huggingface_hub", "text") from error
    return huggingface_hub
