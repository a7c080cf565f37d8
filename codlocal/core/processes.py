"""The processes of `accelerate launch`: the first leads a run, the others train a share of it.

Each trains whole students, so that what becomes of one does not depend on how many processes
there are. To the libraries every process is alone; the processes meet at `wait`.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import count as numbers
from typing import TYPE_CHECKING

from codlocal.core.errors import RunError

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

_LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_LAUNCHER = ("TORCHELASTIC_", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_", "LOCAL_WORLD_SIZE")
"""What else it says begins so: of a store, for which other programs would wait in vain."""
_PATIENCE = timedelta(days=30)
"""The others wait as long as the first takes for teacher and counterfactuals."""


@dataclass
class _Launch:
    """What the launcher said: which of how many processes this is, and where they meet."""

    index: int = 0
    count: int = 1
    meeting_place: str = ""
    visible: str | None = None
    """The GPUs that all processes of this machine share, as CUDA_VISIBLE_DEVICES has it."""


_launch = _Launch()
_meetings = numbers()


def join() -> None:
    """Take what the launcher says out of the environment, and one of its GPUs.

    torch's process group would do more than is wanted here: with it, libraries save models in
    its first process only. Less than a whole launch is what a container has left over, and counts
    for nothing.
    """
    rank, size, local, address, port = (os.environ.pop(name, "") for name in _LAUNCHERS)
    own = local or "0"
    if not (address and all(word.isdecimal() for word in (rank, size, own, port))):
        return
    if int(rank) >= int(size):
        return
    _launch.index, _launch.count = int(rank), int(size)
    _launch.meeting_place = f"tcp://{address}:{port}"
    visible = _launch.visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = [own] if visible is None else visible.split(",")
    os.environ["CUDA_VISIBLE_DEVICES"] = devices[min(int(own), len(devices) - 1)]


def without_launch(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a program that has all GPUs of a launch, and no part in it."""
    left = {
        name: value
        for name, value in environment.items()
        if not name.startswith(_LAUNCHER) and name not in _LAUNCHERS
    }
    if _launch.count > 1:
        del left["CUDA_VISIBLE_DEVICES"]
        if _launch.visible is not None:
            left["CUDA_VISIBLE_DEVICES"] = _launch.visible
    return left


def without_python_paths(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for another interpreter: our own one's settings would leak into it."""
    leaking = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
    return {name: value for name, value in environment.items() if name not in leaking}


def count() -> int:
    """How many processes there are."""
    return _launch.count


def index() -> int:
    """The number of this process, from 0."""
    return _launch.index


def is_first() -> bool:
    """Whether this is the process that leads."""
    return _launch.index == 0


def wait(what: str) -> None:
    """Go on when all processes have come here; alone, at once.

    Args:
        what: they wait for; the same in all.

    Raises:
        RunError: another process waits for something else.

    """
    if _launch.count == 1:
        return
    meeting = f"codlocal/{next(_meetings)}"
    theirs = _store().compare_set(f"{meeting}/what", "", what).decode()
    if theirs != what:
        raise RunError(
            f"One process waits for {what}, another for {theirs}.",
            "All processes of a launch need the same command and the same folders.",
        )
    if _store().add(meeting, 1) == _launch.count:
        _store().set(f"{meeting}/complete", "1")
    _store().wait([f"{meeting}/complete"], _PATIENCE)


@contextmanager
def first_goes_first(what: str) -> Iterator[None]:
    """Let the first process run the block alone, and the others after it.

    `what` it computes and stores in the block, they find. They don't come if it fails: the launcher
    ends them.
    """
    if not is_first():
        wait(what)
    yield
    if is_first():
        wait(what)


@cache
def _store() -> "Store":
    from torch.distributed.rendezvous import rendezvous

    place = f"{_launch.meeting_place}?rank={_launch.index}&world_size={_launch.count}"
    store: Store = next(rendezvous(place))[0]
    return store
