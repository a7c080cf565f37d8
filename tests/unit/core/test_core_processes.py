"""What a process learns from its launcher, and how processes meet."""

import threading
from datetime import timedelta

import pytest

from codlocal.core import processes
from codlocal.core.errors import RunError

LAUNCHED = {
    "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost",
    "MASTER_PORT": "7",
}  # fmt: skip


@pytest.fixture(autouse=True)
def alone(monkeypatch) -> None:
    monkeypatch.setattr(processes, "_launch", processes._Launch())
    for name in (*LAUNCHED, "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "")  # put back at the end, whatever a test has made of it
        monkeypatch.delenv(name)


def test_a_program_started_by_itself_is_first_and_never_waits():
    processes.join()
    assert (processes.index(), processes.count(), processes.is_first()) == (0, 1, True)
    processes.wait("it")
    with processes.first_goes_first("it"):
        pass


@pytest.mark.parametrize(("visible", "own"), [(None, "1"), ("4,6", "6"), ("5", "5"), ("", "")])
def test_a_launched_process_hides_its_launch_and_takes_one_gpu(monkeypatch, visible, own):
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    processes.join()
    assert (processes.index(), processes.count(), processes.is_first()) == (3, 4, False)
    left = {name for name in LAUNCHED if name in processes.os.environ}
    assert not left
    assert processes.os.environ["CUDA_VISIBLE_DEVICES"] == own


@pytest.mark.parametrize("visible", [None, "4,6"])
def test_a_program_outside_the_launch_has_all_its_gpus(monkeypatch, visible):
    more = {"TORCHELASTIC_USE_AGENT_STORE": "True", "GROUP_RANK": "0", "LOCAL_WORLD_SIZE": "4"}
    for name, value in {**LAUNCHED, **more, "HOME": "/home/me"}.items():
        monkeypatch.setenv(name, value)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    processes.join()
    left = processes.without_launch(processes.os.environ)
    assert not {*LAUNCHED, *more} & left.keys()
    assert left["HOME"] == "/home/me"
    assert left.get("CUDA_VISIBLE_DEVICES") == visible


def test_alone_a_program_sees_the_gpus_that_we_see(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    processes.join()
    assert processes.without_launch(processes.os.environ)["CUDA_VISIBLE_DEVICES"] == "1"


@pytest.mark.parametrize(
    "said",
    [
        {"MASTER_ADDR": None, "MASTER_PORT": None}, {"MASTER_ADDR": ""}, {"MASTER_PORT": "x"},
        {"RANK": ""}, {"RANK": "4"}, {"RANK": "-1"}, {"WORLD_SIZE": "two"}, {"WORLD_SIZE": None},
        {"LOCAL_RANK": "one"},
    ],
)  # fmt: skip
def test_what_is_no_whole_launch_is_left_over_and_counts_for_nothing(monkeypatch, said):
    for name, value in {**LAUNCHED, **said}.items():
        if value is not None:
            monkeypatch.setenv(name, value)
    processes.join()
    assert (processes.index(), processes.count(), processes.is_first()) == (0, 1, True)
    assert not {*LAUNCHED, "CUDA_VISIBLE_DEVICES"} & set(processes.os.environ)
    processes.wait("it")


class _Store:
    """The part of torch's store that meetings need, between threads."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._words: dict[str, str] = {}
        self._changed = threading.Condition()

    def add(self, key: str, number: int) -> int:
        with self._changed:
            self._numbers[key] = self._numbers.get(key, 0) + number
            return self._numbers[key]

    def compare_set(self, key: str, _: str, word: str) -> bytes:
        with self._changed:
            return self._words.setdefault(key, word).encode()

    def set(self, key: str, _: str) -> None:
        with self._changed:
            self._numbers[key] = 1
            self._changed.notify_all()

    def wait(self, keys: list[str], _: timedelta) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: keys[0] in self._numbers, timeout=10)


def test_nobody_goes_on_before_all_have_come(monkeypatch):
    store = _Store()
    monkeypatch.setattr(processes, "_store", lambda: store)
    monkeypatch.setattr(processes, "_launch", processes._Launch(0, 3, "tcp://x"))
    monkeypatch.setattr(processes, "_meetings", iter([0, 0, 0]))
    came = []
    others = [
        threading.Thread(target=lambda: (processes.wait("it"), came.append(1))) for _ in range(2)
    ]
    for one in others:
        one.start()
    assert not came
    processes.wait("it")
    for one in others:
        one.join(10)
    assert came == [1, 1]


def test_processes_that_wait_for_different_things_are_told(monkeypatch):
    store = _Store()
    monkeypatch.setattr(store, "wait", lambda *_: None)
    monkeypatch.setattr(processes, "_store", lambda: store)
    monkeypatch.setattr(processes, "_launch", processes._Launch(0, 2, "tcp://x"))
    monkeypatch.setattr(processes, "_meetings", iter([0, 0]))
    processes.wait("the students")
    with pytest.raises(RunError, match="waits for the teacher, another for the students"):
        processes.wait("the teacher")
