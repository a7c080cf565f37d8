"""What each stage leaves in a run folder."""

from collections.abc import Mapping
from pathlib import Path

OUTPUTS: Mapping[str, tuple[str, ...]] = {
    "data": ("data",),
    # What the teacher said of single words is as good as the teacher, whatever is generated.
    "teacher": ("teacher.json", "attributions.jsonl", "edits.jsonl"),
    "generate": (
        "order.jsonl",
        "prompt.jinja",
        "replies.jsonl",
        "originals.jsonl",
        "candidates.jsonl",
        "verdicts.jsonl",
    ),
    "verify": ("pairs.jsonl", "rejections.jsonl", "generation.json"),
    "distill": ("teacher_outputs", "students", "student"),
    "evaluate": ("predictions", "metrics.json", "rounds"),
}
"""Files and folders by the stage that writes them."""

BOOKS = {"run.lock", "run.toml", "manifest.json"}
"""What a run folder has before its first row."""


def stage_of(path: Path) -> str | None:
    """The stage that writes a file of a run, or the folder of a run that the file lies in."""
    within = path.parent.with_name("manifest.json").is_file()
    name = path.parent.name if within else path.name
    return next((stage for stage, files in OUTPUTS.items() if name in files), None)
