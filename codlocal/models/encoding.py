"""Texts to token ids, and token ids to padded batches."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

_NO_LIMIT = 1_000_000
"""Tokenizers without a limit state a huge number instead."""
_LATE_FIRST_POSITION = ("roberta", "camembert", "mpnet", "longformer", "data2vec", "xmod", "ibert")
"""Families that count positions from pad_token_id + 1."""
_AT_ONCE = 512
"""Texts in one call of the tokenizer, which takes much more memory for a text than its ids do."""


class TextEncoder:
    """A tokenizer with its limits: truncates at `max_length`, pads on the right.

    Padding is done here, not by the tokenizer, so that it never depends on the tokenizer's side
    or on whether it has a pad token: attention masks make both irrelevant.
    """

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", max_length: int, max_positions: int | None
    ) -> None:
        limits = [max_length, tokenizer.model_max_length, max_positions or _NO_LIMIT]
        self.tokenizer = tokenizer
        self.max_length = min(limits)
        self.pad_id = self._pad_id(tokenizer)

    @classmethod
    def load(cls, path: Path, config: "PreTrainedConfig", max_length: int) -> "TextEncoder":
        """Load the tokenizer of a model folder; `config` is the model's configuration."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            path, trust_remote_code=False, local_files_only=True
        )
        # XLNet's, which has no limit, says -1.
        positions = max(getattr(config, "max_position_embeddings", None) or 0, 0)
        if positions and any(family in config.model_type for family in _LATE_FIRST_POSITION):
            positions -= (config.pad_token_id or 0) + 1
        return cls(tokenizer, max_length, positions)

    @staticmethod
    def _pad_id(tokenizer: "PreTrainedTokenizerBase") -> int:
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        return int(tokenizer.pad_token_id or 0)

    def pad_with(self, pad_id: int) -> None:
        """Pad with an id of the model's, in the tokenizer too, which is saved beside the model."""
        self.pad_id = pad_id
        if self.tokenizer.pad_token_id != pad_id:
            self.tokenizer.pad_token = self.tokenizer.convert_ids_to_tokens(pad_id)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids per text, special tokens included; never empty."""
        found: list[list[int]] = []
        for start in range(0, len(texts), _AT_ONCE):
            some = list(texts[start : start + _AT_ONCE])
            rows = self.tokenizer(some, truncation=True, max_length=self.max_length)["input_ids"]
            found += (list(row) or [self.pad_id] for row in rows)
        return found

    def characters_read(self, text: str) -> int:
        """How many characters of a text are before the one where it is cut; at most all."""
        if not self.tokenizer.is_fast or self.tokenizer.truncation_side != "right":
            return len(text)
        encoded = self.tokenizer(
            text, truncation=True, max_length=self.max_length, return_offsets_mapping=True
        )
        if len(encoded["input_ids"]) < self.max_length:
            return len(text)
        return max(int(end) for _, end in encoded["offset_mapping"])

    def collate(
        self, rows: Sequence[Sequence[int]], device: torch.device
    ) -> dict[str, torch.Tensor]:
        """Pad rows of ids to one batch.

        Returns:
            `input_ids` and `attention_mask`, each int64 of shape [len(rows), longest row].

        """
        width = max(len(row) for row in rows)
        ids = [[*row, *[self.pad_id] * (width - len(row))] for row in rows]
        mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
        return {
            "input_ids": torch.tensor(ids, device=device),
            "attention_mask": torch.tensor(mask, device=device),
        }
