"""A sequence classifier: loads a model folder and gives class logits and probabilities to texts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from scipy import special

from codlocal.core.errors import ModelError
from codlocal.core.foreign import first_line
from codlocal.models.devices import device_of, dtype_of
from codlocal.models.encoding import TextEncoder
from codlocal.models.folders import make_readable
from codlocal.models.labels import column_order, names_of
from codlocal.models.locate import check_folder, has_head, read_json
from codlocal.models.quantization import keep_exact, nf4_options
from codlocal.models.quiet import silence_libraries
from codlocal.models.saliency import Piece, gradient_times_input
from codlocal.models.trainable import is_quantized

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_OVERFLOWING = ("deberta", "gemma")
"""Families whose activations exceed the largest float16, 65504."""
_AT_ONCE = 4096
"""Texts whose token ids are in memory together, and which share batches."""
_SHOWN = 3
"""Missing weights that an error names."""


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
        quantization: Literal["none", "nf4"] = "none",
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
            for place, ids in enumerate(self.encoder.encode(some), first):
                places.setdefault(tuple(ids), []).append(place)
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


def place(model: torch.nn.Module, device: torch.device) -> None:
    """Move a model to a device and switch its dropout off."""
    model.to(device)
    model.eval()


def load_model(path: Path, *, whole: bool = True, **options: object) -> "PreTrainedModel":
    """`AutoModelForSequenceClassification.from_pretrained` with safe options and named errors.

    Unless it need not be `whole`, the folder has every weight: transformers would draw the others
    at random, anew each time.

    Raises:
        ModelError: the folder can't be loaded as a sequence classifier, or lacks weights.

    """
    from transformers import AutoModelForSequenceClassification

    silence_libraries()
    with _named_errors(path):
        model: PreTrainedModel
        model, found = AutoModelForSequenceClassification.from_pretrained(
            path,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    missing = sorted(found["missing_keys"])
    if whole and missing:
        more = ", ..." if len(missing) > _SHOWN else ""
        raise ModelError(
            f"{path} lacks weights of its classifier: {', '.join(missing[:_SHOWN])}{more}.",
            "Save the whole classifier again. A body without a head says so in its config.json "
            "(architectures), and is fine-tuned.",
        )
    if getattr(model, "is_loaded_in_4bit", False):
        keep_exact(model)
    return model


def read_label_names(path: Path) -> tuple[str, ...]:
    """The label names of a model folder, in class order, without loading its weights.

    Raises:
        ModelError: the configuration can't be read.

    """
    from transformers import AutoConfig

    silence_libraries()
    with _named_errors(path):
        config = AutoConfig.from_pretrained(path, trust_remote_code=False, local_files_only=True)
    return names_of(config.id2label)


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise ModelError(
            f"{path} can't be loaded as a classifier: {first_line(error)}",
            "The folder may be damaged, made for a newer transformers, or need a package "
            "that the message names.",
        ) from error


def load_encoder(path: Path, model: "PreTrainedModel", max_length: int) -> TextEncoder:
    """Load a model's tokenizer, and have both agree on the id that pads: the model's, if any.

    Decoders find a text's last token by the pad id; many of them come without one.

    Raises:
        ModelError: the tokenizer can't be loaded.

    """
    with _named_errors(path):
        encoder = TextEncoder.load(path, model.config, max_length)
    if model.config.pad_token_id is None or model.config.pad_token_id < 0:
        model.config.pad_token_id = encoder.pad_id
    encoder.pad_with(int(model.config.pad_token_id))
    return encoder
