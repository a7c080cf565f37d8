"""Models of the Hugging Face hub: from its local cache first, from the network only if allowed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from codlocal.core.console import Console
from codlocal.core.errors import ModelError
from codlocal.core.foreign import first_line, hub_errors
from codlocal.models.quiet import silence_libraries

# Weights as safetensors only: a pickled checkpoint can run code when it is read.
_WANTED = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
_SUBFOLDERS = ["*/*"]
_CONVERSION_AUTHOR = "SFconvertbot"
_CONVERSION_TITLE = "Adding `safetensors` variant of this model"


def fetch(
    model_id: str, *, console: Console, offline: bool, problem: Callable[[Path], str | None]
) -> Path:
    """Return the local snapshot of a hub model; `problem` says what a folder lacks, if anything.

    Raises:
        ModelError: there is no such model, no access to it, or no connection.

    """
    found_here = cached(model_id, problem)
    if found_here:
        return found_here
    if offline:
        raise ModelError(
            f"The run is offline, and the model {model_id!r} is not in the local hub cache.",
            "Give a local model folder, or download the model once with a connection.",
        )
    with console.progress(f"Downloading {model_id}", None) as task:
        folder = _download(model_id, None)
        if problem(folder):
            task.note(now="the safetensors variant")
            folder = _download_conversion(model_id) or folder
    found = problem(folder)
    if found:
        raise ModelError(f"The hub model {model_id!r} {found}", "Choose another model.")
    return folder


def cached(model_id: str, problem: Callable[[Path], str | None]) -> Path | None:
    """The snapshot of a hub model in the local cache, if there is a whole one."""
    from huggingface_hub.constants import HF_HUB_CACHE

    repository = Path(HF_HUB_CACHE) / ("models--" + model_id.replace("/", "--"))
    snapshots = [path for path in repository.glob("snapshots/*") if path.is_dir()]
    main = repository / "refs" / "main"
    current = main.read_text("utf-8").strip() if main.is_file() else ""
    # The main branch first, then the newest: a converted variant lives in a snapshot of its own.
    snapshots.sort(key=lambda path: (path.name == current, path.stat().st_mtime), reverse=True)
    return next((path for path in snapshots if problem(path) is None), None)


def _download(model_id: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    silence_libraries()
    with _named_errors(model_id):
        folder = snapshot_download(
            model_id, revision=revision, allow_patterns=_WANTED, ignore_patterns=_SUBFOLDERS
        )
    return Path(folder)


@contextmanager
def _named_errors(model_id: str) -> Iterator[None]:
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelError(
            f"The hub model {model_id!r} is gated.",
            "Accept its terms on its page and set HF_TOKEN, or choose another model.",
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise ModelError(
            f"There is no model {model_id!r}: no such folder, and no such hub model.",
            "Check the name. A private model needs HF_TOKEN.",
        ) from error
    except hub_errors() as error:
        raise ModelError(
            f"The hub model {model_id!r} could not be downloaded: {first_line(error)}",
            "Check the name and the connection, or give a local model folder; `codlocal doctor` "
            "lists the packaged models.",
        ) from error


def _download_conversion(model_id: str) -> Path | None:
    """The hub's own safetensors conversion, which it proposes as a pull request of its bot."""
    from huggingface_hub import get_repo_discussions

    with _named_errors(model_id):
        for one in get_repo_discussions(model_id, author=_CONVERSION_AUTHOR):
            by_the_bot = one.author == _CONVERSION_AUTHOR and one.is_pull_request
            if by_the_bot and one.title == _CONVERSION_TITLE:
                return _download(model_id, f"refs/pr/{one.num}")
    return None
