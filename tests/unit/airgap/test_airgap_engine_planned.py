"""What `codlocal engine install --dry-run` says of the environment that is there."""

import tomllib
from pathlib import Path

import pytest

from codlocal.airgap import engine
from codlocal.core import jsonl, paths
from codlocal.core.errors import EngineError

DONE = {"kind": "cpu", "vllm": "0.32.0"}


@pytest.mark.parametrize(
    ("noted", "kind", "upgrade", "to_do"),
    [
        (DONE, "cpu", False, "nothing: vLLM 0.32.0 is there"),
        (DONE, "cpu", True, "install again"),
        (DONE, "gpu", False, "remove the cpu build, and build it"),
        ({"kind": "cpu"}, "cpu", False, "finish what was begun"),
    ],
)
def test_what_is_there_decides_what_is_to_be_done(noted, kind, upgrade, to_do):
    jsonl.write_json(paths.engine() / "codlocal.json", noted)
    found = engine.planned(kind, upgrade=upgrade)
    assert found == {
        "kind": kind,
        "requirements": list(engine.REQUIREMENTS[kind]),
        "to_do": to_do,
    }


def test_a_strange_folder_is_refused_before_anything_is_tried():
    jsonl.write_text(paths.engine() / "thesis.txt", "mine")
    with pytest.raises(EngineError, match="no environment of codlocal's"):
        engine.planned("cpu", upgrade=False)


def test_both_ways_to_install_the_engine_want_the_same_versions():
    project = tomllib.loads(Path(__file__).parents[3].joinpath("pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    assert {kind: tuple(extras[kind]) for kind in ("cpu", "gpu")} == engine.REQUIREMENTS
