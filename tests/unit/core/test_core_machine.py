"""What a container may use of its machine, as its control group and affinity have it."""

import os

import pytest

from codlocal.core import machine

_PAGE, _PAGES = 4096, 1_000_000


@pytest.fixture
def limits(tmp_path, monkeypatch):
    """A machine of 4.1 GB, and the places of its two files of limits, which are not there."""
    found = tmp_path / "memory.max", tmp_path / "memory.limit_in_bytes"
    monkeypatch.setattr(machine, "_MEMORY_LIMITS", found)
    sizes = {"SC_PAGE_SIZE": _PAGE, "SC_PHYS_PAGES": _PAGES}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    return found


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    ("said", "memory"),
    [
        ("2000000000\n", 2_000_000_000),
        ("max\n", _PAGE * _PAGES),
        ("9223372036854771712\n", _PAGE * _PAGES),
        ("", _PAGE * _PAGES),
    ],
)
def test_memory_is_what_the_control_group_leaves(limits, version, said, memory):
    limits[version].write_text(said)
    assert machine.memory_bytes() == memory


def test_without_control_groups_all_memory_is_ours(limits):
    assert machine.memory_bytes() == _PAGE * _PAGES


def test_cores_are_those_of_the_affinity_at_most():
    allowed = os.sched_getaffinity(0)
    assert 1 <= machine.cores() <= machine.cores_by_affinity() == len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert machine.cores() == machine.cores_by_affinity() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_cores_without_affinity_are_the_machines(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cores_by_affinity() == 1
