"""A sequence classifier: loads a model folder and gives class logits and probabilities to texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from scipy import special

from codlocal.core.errors import ModelError
from codlocal.core.sections import Quantization
from codlocal.models.devices import device_of, dtype_of
from codlocal.models.encoding import TextEncoder
from codlocal.models.folders import make_readable
from codlocal.models.labels import column_order, names_of
from codlocal.models.loading import load_encoder, load_model, place
from codlocal.models.locate import check_folder, has_head, read_json
from codlocal.models.quantization import nf4_options
from codlocal.models.saliency import Piece, gradient_times_input
from codlocal.models.trainable import is_quantized

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_OVERFLOWING = ("deberta", "gemma")
"""Families whose activations exceed the largest float16, 65504."""
_AT_ONCE = 4096
"""Texts whose token ids are in memory together, and which share batches."""


class Classifier:
    """A transformers sequence classifier with its tokenizer; satisfies `core.records.Teacher`.

    `label_names` are in the order of the columns that `logits` and `predict_proba` return, and
    `order` has the model's own class index of each.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        encoder: TextEncoder,
        label_names: tuple[str, ...],
        order: list[int],
    ) -> None:
        self.model = model
        self.encoder = encoder
        self.label_names = label_names
        self.order = order

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        max_length: int = 256,
        label_names: Sequence[str] | None = None,
        quantization: Quantization = "none",
    ) -> "Classifier":
        """Load a classifier; with `label_names`, its columns follow the order of those names.

        `quantization` says how to load weights in full precision; a folder of 4-bit weights is
        recognised by itself.

        Raises:
            ModelError: the folder holds no classifier, or one with other labels.
            DeviceError: the device is not there.

        """
        check_folder(path)
        if not has_head(path):
            raise ModelError(
                f"{path} is no classifier: it has no classification head.",
                "Fine-tune it first; `codlocal teacher train` does so for a run's teacher.",
            )
        target = device_of(device)
        number_format = _number_format(path, dtype, target)
        if quantization == "nf4":
            options = nf4_options(path, target, number_format)
        else:
            # What is quantised would be put on a GPU first, wherever there is one.
            options = {"device_map": {"": target}} if is_quantized(path) else {}
        # What lies beside quantised weights has to stay in the format that it was saved in.
        kept = "auto" if is_quantized(path) else number_format
        model = load_model(path, dtype=kept, **options)
        place(model, target)
        encoder = load_encoder(path, model, max_length)
        own = names_of(model.config.id2label)
        names = tuple(label_names) if label_names is not None else own
        return cls(model, encoder, names, column_order(own, names))

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return torch.device(self.model.device)

    def logits(self, texts: Sequence[str], batch_size: int = 64) -> npt.NDArray[np.float32]:
        """Class logits of `texts`, in their order, shape [len(texts), classes].

        Texts of similar length share a batch; how they are batched does not change the result
        beyond rounding. Texts that are the same to the model, such as two that differ after what
        it reads of them, are read once.

        Raises:
            ModelError: the model overflows in its number format.

        """
        results = np.empty((len(texts), len(self.label_names)), dtype=np.float32)
        for first in range(0, len(texts), _AT_ONCE):
            places: dict[tuple[int, ...], list[int]] = {}
            some = texts[first : first + _AT_ONCE]
            for at, ids in enumerate(self.encoder.encode(some), first):
                places.setdefault(tuple(ids), []).append(at)
            distinct = sorted(places, key=len, reverse=True)
            for start in range(0, len(distinct), batch_size):
                chosen = distinct[start : start + batch_size]
                for row, found in zip(chosen, self._batch_logits(chosen), strict=True):
                    results[places[row]] = found
        if not np.isfinite(results).all():
            raise ModelError(
                f"The classifier gives logits that are not finite in {self.model.dtype}.",
                "Use --set runtime.dtype=float32.",
            )
        return results

    def _batch_logits(self, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        self.model.train(mode=False)
        with torch.inference_mode():
            logits = self.model(**self.encoder.collate(rows, self.device)).logits
        columns: npt.NDArray[np.float32] = logits.float().cpu().numpy()[:, self.order]
        return columns

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Class probabilities of `texts`: softmax of the logits, shape [len(texts), classes]."""
        return softmax(self.logits(texts))

    def characters_read(self, text: str) -> int:
        """How many characters of a text the model reads, the first ones."""
        return self.encoder.characters_read(text)

    def gradient_times_input(
        self, texts: Sequence[str], labels: Sequence[int], others: Sequence[int]
    ) -> list[list[Piece]]:
        """What of each text speaks for one label against another (`saliency`)."""
        return gradient_times_input(self, texts, labels, others)

    def save(self, folder: Path) -> None:
        """Write configuration, safetensors and tokenizer to a folder."""
        self.model.save_pretrained(folder)
        self.encoder.tokenizer.save_pretrained(folder)
        make_readable(folder)


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Softmax over the last axis in float64, shape unchanged."""
    result: npt.NDArray[np.float64] = special.softmax(logits.astype(np.float64), axis=-1)
    return result


def _number_format(path: Path, wanted: str, device: torch.device) -> torch.dtype:
    family = str(read_json(path / "config.json").get("model_type", ""))
    found = dtype_of(wanted, device)
    overflows = found == torch.float16 and family.startswith(_OVERFLOWING)
    return torch.float32 if overflows else found
