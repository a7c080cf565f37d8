"""What a model folder is refused for before its weights are read."""

from pathlib import Path

import pytest
from tiny import tiny_model

from codlocal.core.errors import ModelError
from codlocal.models.trainable import check_start, layers_of


@pytest.mark.parametrize("kind", ["bert", "modernbert", "distilbert", "gpt2", "llama"])
def test_layers_are_counted_whatever_a_family_calls_them(kind: str, tmp_path: Path):
    folder = tiny_model(tmp_path, kind, layers=3)
    assert layers_of(folder) == 3
    check_start(folder, layers=3, pooling=None)
    with pytest.raises(ModelError, match="has 3 layers, fewer than the 4"):
        check_start(folder, layers=4, pooling=None)


def test_a_student_has_one_body(tmp_path: Path):
    tiny_model(tmp_path, "bart")
    with pytest.raises(ModelError, match="a bart model has an encoder and a decoder"):
        check_start(tmp_path, layers=None, pooling=None)
