"""A grid file for the toys of the integration tests: their CSV, encoder and generator."""

import json
from collections.abc import Sequence
from pathlib import Path

GRID = """
profile = "embedded"
dataset = {{ path = "mine.csv", text_column = "body", label_column = "verdict" }}
generator = "generator"
k = [4, 8]
seeds = 2
arm = {arms}
{more}
[settings]
teacher = {{ model = "encoder", epochs = 15, batch_size = 8, learning_rate = 3e-3 }}
verification = {{ min_pairs = 0, max_edit_distance = 2.0 }}
distillation = {{ student = "encoder", student_layers = 1, steps = 5, max_length = 64 }}
runtime = {{ device = "cpu", dtype = "float32", offline = true, threads = 1 }}
[settings.generator]
engine = "transformers"
candidates = 2
rounds = ["guided"]
reply_tokens = 100
temperature = 1.0
"""
ARMS = ["student", "baseline", "unverified", "random-soft", "untrained", "logistic", "setfit"]
"""Of these SetFit is not installed: its cells fail."""


def write_grid(folder: Path, arms: Sequence[str], more: str = "") -> None:
    """Write `grid.toml` with some arms, and with further lines of the grid."""
    folder.joinpath("grid.toml").write_text(GRID.format(arms=json.dumps(arms), more=more))
