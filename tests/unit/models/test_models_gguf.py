import io
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFWriter
from tiny import byte_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from codlocal.core.errors import ModelError
from codlocal.models.gguf import convert
from codlocal.models.quiet import no_bars

WIDTH, INNER, HEADS, LAYERS = 32, 64, 2, 2


def _write_gguf(path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokens = [*sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get), "ab"]
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * (len(tokens) - 1))
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(0)
    writer.add_chat_template("{{ messages[0].content }}")
    _add_tensors(writer, len(tokens))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tensors(writer: GGUFWriter, vocabulary: int) -> None:
    rng = np.random.default_rng(0)
    shapes = {"token_embd": (vocabulary, WIDTH), "output_norm": (WIDTH,)}
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"blk.{layer}.{name}"] = (WIDTH, WIDTH)
        for name in ("attn_norm", "ffn_norm"):
            shapes[f"blk.{layer}.{name}"] = (WIDTH,)
        for name in ("ffn_gate", "ffn_up"):
            shapes[f"blk.{layer}.{name}"] = (INNER, WIDTH)
        shapes[f"blk.{layer}.ffn_down"] = (WIDTH, INNER)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", rng.normal(size=shape).astype(np.float32))


def test_a_gguf_file_becomes_a_folder_that_loads(tmp_path: Path, capfd):
    _write_gguf(tmp_path / "model.gguf")
    folder = tmp_path / "out"
    convert(tmp_path / "model.gguf", folder, "float32")
    assert "it/s" not in capfd.readouterr().err
    loaded = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert not hasattr(loaded.config, "quantization_config")
    assert loaded.dtype == torch.float32
    assert loaded.lm_head.weight.data_ptr() == loaded.get_input_embeddings().weight.data_ptr()
    assert tokenizer.decode(tokenizer("good")["input_ids"]) == "good"
    assert tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False) == "x"
    source = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf")
    ids = torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        assert torch.equal(loaded(ids).logits, source(ids).logits)


def test_a_large_model_is_kept_in_half_the_bytes(tmp_path: Path):
    _write_gguf(tmp_path / "model.gguf")
    convert(tmp_path / "model.gguf", tmp_path / "whole", "float32")
    convert(tmp_path / "model.gguf", tmp_path / "half", "bfloat16")
    whole, half = (
        AutoModelForCausalLM.from_pretrained(tmp_path / name).state_dict()
        for name in ("whole", "half")
    )
    assert whole.keys() == half.keys()
    for name, weights in whole.items():
        assert half[name].dtype == torch.bfloat16
        assert torch.equal(half[name], weights.to(torch.bfloat16))


def test_a_file_that_is_no_gguf_is_a_model_error(tmp_path: Path):
    tmp_path.joinpath("model.gguf").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(ModelError, match=r"model\.gguf can't be converted"):
        convert(tmp_path / "model.gguf", tmp_path / "out", "float32")


def test_bars_come_back_after_the_block():
    from tqdm import tqdm

    shown, hidden = io.StringIO(), io.StringIO()
    with no_bars():
        list(tqdm(range(3), file=hidden))
    list(tqdm(range(3), file=shown))
    assert not hidden.getvalue()
    assert "3/3" in shown.getvalue()
