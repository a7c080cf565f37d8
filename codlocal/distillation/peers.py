"""Peers of the distilled student at the same labels: logistic regression on frozen features."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from codlocal.distillation.hidden_states import last_token, mean_over_tokens
from codlocal.models.classifier import Classifier
from codlocal.models.trainable import is_decoder

_BATCH = 64
_ITERATIONS = 1000

Array = npt.NDArray[np.float64]


class FrozenEncoder:
    """A classifier's body as it is: one vector a text, computed once for every text it is given."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self._known: dict[str, npt.NDArray[np.float32]] = {}

    def features(self, texts: Sequence[str]) -> Array:
        """The last hidden state: the mean over a text's tokens, or a decoder's last token.

        Returns:
            Shape [len(texts), width].

        """
        # A feature's last bits depend on its batch, so texts of one length need an order too.
        new = sorted({*texts} - self._known.keys(), key=lambda text: (len(text), text))
        for start in range(0, len(new), _BATCH):
            batch = new[start : start + _BATCH]
            self._known.update(zip(batch, self._batch_features(batch), strict=True))
        return np.array([self._known[text] for text in texts], dtype=np.float64)

    def _batch_features(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        encoder, model = self.classifier.encoder, self.classifier.model
        inputs = encoder.collate(encoder.encode(texts), self.classifier.device)
        model.train(mode=False)
        with torch.inference_mode():
            states = model(**inputs, output_hidden_states=True).hidden_states[-1].float()
        mask = inputs["attention_mask"]
        if is_decoder(model.config.model_type):
            chosen = last_token(states, mask)
        else:
            chosen = mean_over_tokens(states, mask)[:, 0]
        features: npt.NDArray[np.float32] = chosen.cpu().numpy()
        return features


class Peer:
    """What was fitted to texts of the classes `present`; satisfies `core.records.Teacher`.

    `ask` gives the probabilities of these classes, in their order, the others get 0. Of a single
    class it is not needed: every answer is that class.
    """

    def __init__(
        self, present: Sequence[int], classes: int, ask: Callable[[Sequence[str]], Array] | None
    ) -> None:
        self._present = list(present)
        self._classes = classes
        self._ask = ask

    def predict_proba(self, texts: Sequence[str]) -> Array:
        """Class probabilities, shape [len(texts), classes]."""
        probabilities = np.zeros((len(texts), self._classes))
        probabilities[:, self._present] = 1.0 if self._ask is None else self._ask(texts)
        return probabilities


def fit_logistic(
    encoder: FrozenEncoder, texts: Sequence[str], labels: Sequence[int], classes: int
) -> Peer:
    """Fit a logistic regression on frozen features to n labelled texts."""
    from sklearn.linear_model import LogisticRegression

    present = sorted(set(labels))
    if len(present) == 1:
        return Peer(present, classes, None)
    model = LogisticRegression(max_iter=_ITERATIONS).fit(encoder.features(texts), list(labels))
    return Peer(present, classes, lambda asked: model.predict_proba(encoder.features(asked)))
