"""A peer of the distilled student at the same labels: SetFit, from the optional `[bench]` extra."""

import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from codlocal.core.errors import ModelError
from codlocal.distillation.peers import Peer
from codlocal.models.classifier import Classifier
from codlocal.models.folders import make_readable

_ITERATIONS = 1000


def train_setfit(
    start: Classifier,
    texts: Sequence[str],
    labels: Sequence[int],
    folder: Path,
    *,
    steps: int,
    seed: int,
) -> Peer:
    """SetFit (Tunstall et al. 2022, arXiv 2209.11055) on the body of an untrained student.

    The recipe is the library's own: `steps` steps on contrastive pairs of the texts, then
    logistic regression. `folder` gets the body.

    Raises:
        ModelError: SetFit is not installed.

    """
    check_setfit()
    present, classes = sorted(set(labels)), len(start.label_names)
    if len(present) == 1:
        return Peer(present, classes, None)
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from setfit import SetFitModel, Trainer, TrainingArguments
    from sklearn.linear_model import LogisticRegression
    from transformers import PrinterCallback

    torch.manual_seed(seed)
    body: Any = start.model.base_model
    body.save_pretrained(folder)
    start.encoder.tokenizer.save_pretrained(folder)
    make_readable(folder)
    # A plain body gets mean pooling.
    sentences = SentenceTransformer(str(folder), device=str(start.device), local_files_only=True)
    sentences.max_seq_length = start.encoder.max_length
    model = SetFitModel(model_body=sentences, model_head=LogisticRegression(max_iter=_ITERATIONS))
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        seed=seed,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        logging_first_step=False,
        show_progress_bar=False,
    )
    rows = Dataset.from_dict({"text": list(texts), "label": list(labels)})
    with _quiet():
        trainer = Trainer(model=model, args=arguments, train_dataset=rows)
        trainer.remove_callback(PrinterCallback)  # which has standard output for its log
        trainer.train()
    return Peer(present, classes, lambda asked: model.predict_proba(list(asked), as_numpy=True))


def check_setfit() -> None:
    """Refuse an arm with SetFit where it is not installed.

    Raises:
        ModelError: that is so.

    """
    if importlib.util.find_spec("setfit") is None:
        raise ModelError("SetFit is not installed.", "pip install 'codlocal[bench]'")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' own bars, and without torch's advice on machines without a GPU."""
    import datasets
    import setfit

    setfit.logging.set_verbosity_warning()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*pin_memory.*")
            yield
    finally:
        datasets.enable_progress_bars()
