"""Tiny random models with tokenizers, made at test time: what a hub would give, in milliseconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
WORDS = ("good", "bad", "great", "awful", "the", "food", "was", "is", "service", "place", "and")

_WIDTH = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "max_position_embeddings": 160,
}
_DECODER = {
    **_WIDTH,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 4096,
}
_BART = {
    **_WIDTH,
    "encoder_ffn_dim": 64,
    "decoder_layers": 2,
    "decoder_ffn_dim": 64,
    "decoder_attention_heads": 2,
}
_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", _WIDTH),
    "roberta": ("Roberta", _WIDTH),
    "deberta": (
        "DebertaV2",
        {**_WIDTH, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    ),
    "modernbert": ("ModernBert", {**_WIDTH, "local_attention": 16}),
    "distilbert": ("DistilBert", {**_WIDTH, "hidden_dim": 64}),
    "gpt2": ("GPT2", _WIDTH),
    "bart": ("Bart", _BART),
    "eurobert": ("EuroBert", {**_WIDTH, "num_key_value_heads": 1}),
    "llama": ("Llama", _DECODER),
    "qwen2": ("Qwen2", _DECODER),
    "gemma3": ("Gemma3Text", {**_DECODER, "sliding_window": 16}),
}


def wordpiece_tokenizer(words: Sequence[str] = WORDS) -> PreTrainedTokenizerFast:
    """A BERT-like tokenizer that knows `words` as wholes and spells all other words."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    known = [*special, *words, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(known))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A GPT-like tokenizer, one token a byte, with an end token and without a pad token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(["<|endoftext|>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")


def tiny_model(
    folder: Path,
    kind: str = "bert",
    *,
    labels: Sequence[str] | None = None,
    layers: int = 2,
    seed: int = 0,
    causal: bool = False,
    width: int = 32,
) -> Path:
    """Save a random model of a family: a body, a classifier with `labels`, or a causal LM.

    Decoders but for gpt2 (llama, qwen2, gemma3) get `byte_tokenizer`, all others
    `wordpiece_tokenizer`.
    """
    family, sizes = _KINDS[kind]
    tokenizer = byte_tokenizer() if sizes.keys() & {"head_dim"} else wordpiece_tokenizer()
    sizes = {**sizes, "hidden_size": width}
    if "head_dim" in sizes:
        sizes["head_dim"] = width // 2
    config = _config(family, sizes, tokenizer, layers)
    if labels is not None:
        config.id2label = dict(enumerate(labels))
        config.label2id = {name: index for index, name in enumerate(labels)}
    part = "Model"
    if labels is not None:
        part = "ForSequenceClassification"
    elif causal:
        part = "ForCausalLM"
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, _class_name(family, part))(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _config(
    family: str, sizes: dict[str, Any], tokenizer: PreTrainedTokenizerFast, layers: int
) -> Any:
    return getattr(transformers, f"{family}Config")(
        vocab_size=len(tokenizer),
        num_hidden_layers=layers,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id or tokenizer.eos_token_id,
        **sizes,
    )


def _class_name(family: str, part: str) -> str:
    return f"Gemma3{part}" if family == "Gemma3Text" and part == "ForCausalLM" else family + part
