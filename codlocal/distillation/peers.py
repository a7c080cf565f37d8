"""A peer of the distilled student at the same labels: logistic regression on frozen features."""

from collections.abc import Sequence

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


class LogisticPeer:
    """Logistic regression on frozen features; satisfies `core.records.Teacher`."""

    def __init__(
        self, encoder: FrozenEncoder, texts: Sequence[str], labels: Sequence[int], classes: int
    ) -> None:
        """Fit it to n texts; a class that none of them has gets the probability 0."""
        from sklearn.linear_model import LogisticRegression

        self._encoder = encoder
        self._classes = classes
        self._present = sorted(set(labels))
        self._model = None
        if len(self._present) > 1:
            self._model = LogisticRegression(max_iter=_ITERATIONS)
            self._model.fit(encoder.features(texts), list(labels))

    def predict_proba(self, texts: Sequence[str]) -> Array:
        """Class probabilities, shape [len(texts), classes]."""
        probabilities = np.zeros((len(texts), self._classes))
        if self._model is None:
            probabilities[:, self._present] = 1.0
        else:
            probabilities[:, self._present] = self._model.predict_proba(
                self._encoder.features(texts)
            )
        return probabilities
