"""Tiny random-weight vision-language checkpoints in the published layouts.

``python -m tests.tiny_vlm OUT`` writes one of every kind.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.tiny_checkpoints import SENTENCES

CHAT_WORDS = "USER ASSISTANT User Assistant user assistant system helpful : ? ! \n"
QWEN_TEMPLATE = (  # as published, without video and tools
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nyou are a "
    "helpful assistant .<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
    "{{ message['content'] }}<|im_end|>\n{% else %}{% for content in message['content'] %}{% if content['type'] == "
    "'image' %}<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMOLVLM_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == "
    "'image' %}{{':'}}{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}"
    "{{line['text']}}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
TILE_MARKERS = (
    "<fake_token_around_image>",
    "<global-img>",
    "<end_of_utterance>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)),
)
QWEN_SPECIALS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>")


def write_tokenizer(folder: Path, specials: Sequence[str], **roles: str) -> dict[str, int]:
    """Whole words, line breaks and ``specials``; ``roles``: bos_token and the like. Token texts to ids."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Sequence as InTurn
    from tokenizers.pre_tokenizers import Split
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    words = (*SENTENCES.split(), *CHAT_WORDS.split(" "), "you", "are", "what")
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys((*specials, *words)))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = InTurn([Split(Regex(r"[ \t]+"), "removed"), Split(Regex(r"[\n:?!.,]"), "isolated")])
    tokenizer.add_special_tokens(list(specials))
    if roles.pop("adds_bos", ""):
        bos = roles["bos_token"]
        tokenizer.post_processor = TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, vocabulary[bos])])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **roles).save_pretrained(folder)
    return vocabulary


def write_byte_tokenizer(folder: Path, specials: Sequence[str], **roles: str) -> dict[str, int]:
    """The same with byte-level pieces of words, as Qwen's and SmolLM's are made."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320 + len(specials), special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([f" {word}" for word in SENTENCES.split()], trainer)
    roles.pop("adds_bos", "")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles).save_pretrained(folder)
    return dict(tokenizer.get_vocab())


def _enliven(model: Any, seed: int) -> None:
    """Random weights of a size that lets a narrow, shallow model see its image and not repeat one token for ever."""
    import torch

    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    gains = {"q_proj": 2.0, "o_proj": 3.0, "down_proj": 2.0, "qkv": 2.0, "lm_head": 1.5}
    gains["embed_tokens"] = 0.1 if tied else 1.0  # or the residual stream repeats the last token for ever
    generator, of_vectors = (torch.Generator().manual_seed(number) for number in (seed, seed + 1))
    for name, weight in sorted(model.named_parameters()):
        if weight.ndim < 2:
            if weight.std() > 0.01:  # no norm and no bias, but made at random without a seed, as a class embedding is
                weight.data.normal_(0.0, len(weight) ** -0.5, generator=of_vectors)
            continue
        fan = weight[0].numel() if "embed_tokens" not in name and "position_embedding" not in name else 1
        gain = next((gain for part, gain in gains.items() if part in name), 1.0)
        weight.data.normal_(0.0, gain * fan**-0.5, generator=generator)


def _save(model: Any, folder: Path, eos: int | list[int] | None, generation: Mapping[str, Any] | None = None) -> None:
    model.generation_config.eos_token_id = eos
    for name, value in (generation or {}).items():
        setattr(model.generation_config, name, value)
    model.save_pretrained(folder)


def _preprocessor(folder: Path, kind: str, **settings: Any) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": kind, **settings}, indent=2))


def _text(kind: str, vocabulary: int, width: int, layers: int, heads: int, kv_heads: int, **extra: Any) -> Any:
    return {
        "model_type": kind,
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 2048,
        **extra,
    }


def _rename(folder: Path, renamed: Callable[[str], str], **more: Any) -> None:
    """Tensor names as hub files of transformers 4 have them, with tensors that only those hold."""
    from safetensors.torch import load_file, save_file

    tensors = {renamed(name): tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file({**tensors, **more}, folder / "model.safetensors", metadata={"format": "pt"})


def write_paligemma(folder: Path, text: str = "gemma", seed: int = 0, hub: bool = False) -> Path:
    """PaliGemma 1 or 2 (``text="gemma2"``); ``hub``: tensor names as Google's files on the hub have them."""
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

    folder.mkdir(parents=True, exist_ok=True)
    roles = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
    vocabulary = write_tokenizer(folder, ("<pad>", "<bos>", "<eos>", "<unk>", "<image>"), adds_bos="yes", **roles)
    _preprocessor(folder, "SiglipImageProcessor", size={"height": 56, "width": 56}, resample=3, image_seq_length=16)
    _fill_normalisation(folder, (0.5,) * 3, (0.5,) * 3)
    extra: dict[str, Any] = {"head_dim": 8, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if text == "gemma2":
        extra |= {"query_pre_attn_scalar": 8, "sliding_window": 24, "attn_logit_softcapping": 5.0}
    config = PaliGemmaConfig(
        text_config=_text(text, len(vocabulary), 32, 4, 4, 2, **extra),
        vision_config=_square_tower("siglip_vision_model", vision_use_head=False, projection_dim=32),
        image_token_index=vocabulary["<image>"],
        projection_dim=32,
        hidden_size=32,
        vocab_size=len(vocabulary),
    )
    model = PaliGemmaForConditionalGeneration(config)
    _enliven(model, seed)
    _save(model, folder, 2)
    if hub:
        _rename(folder, lambda name: name.replace("vision_tower.", "vision_tower.vision_model."))
    return folder


def _square_tower(kind: str, **extra: Any) -> dict[str, Any]:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    return {"model_type": kind, **sizes, "image_size": 56, "patch_size": 14, **extra}


def _fill_normalisation(folder: Path, mean: Sequence[float], std: Sequence[float]) -> None:
    file = folder / "preprocessor_config.json"
    steps: dict[str, Any] = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    steps |= {"do_convert_rgb": True, "image_mean": list(mean), "image_std": list(std)}
    file.write_text(json.dumps(json.loads(file.read_text()) | steps, indent=2))


CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def write_llava(folder: Path, seed: int = 0, nextgen: bool = False, template: str | None = None) -> Path:
    """LLaVA 1.5, or LLaVA-NeXT (``nextgen``), with the tensor names of their hub files."""
    import torch
    from transformers import (
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
    )

    folder.mkdir(parents=True, exist_ok=True)
    roles = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    vocabulary = write_tokenizer(folder, ("<unk>", "<s>", "</s>", "<pad>", "<image>"), adds_bos="yes", **roles)
    crop = {"crop_size": {"height": 56, "width": 56}, "do_center_crop": True, "size": {"shortest_edge": 56}}
    canvases = [[56, 112], [112, 56], [112, 112], [168, 56], [56, 168]]
    if nextgen:
        _preprocessor(folder, "LlavaNextImageProcessor", **crop, resample=3, image_grid_pinpoints=canvases)
    else:
        _preprocessor(folder, "CLIPImageProcessor", **crop, resample=3)
    _fill_normalisation(folder, CLIP_MEAN, CLIP_STD)
    if template is not None:
        (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    settings: dict[str, Any] = {
        "text_config": _text("llama", len(vocabulary), 32, 3, 4, 2, bos_token_id=1, eos_token_id=2),
        "vision_config": _square_tower("clip_vision_model", projection_dim=32),
        "image_token_index": vocabulary["<image>"],
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    }
    if nextgen:
        model = LlavaNextForConditionalGeneration(LlavaNextConfig(**settings, image_grid_pinpoints=canvases))
    else:
        model = LlavaForConditionalGeneration(LlavaConfig(**settings))
    _enliven(model, seed)
    _save(model, folder, 2)
    positions = {"vision_tower.vision_model.embeddings.position_ids": torch.arange(17)[None]}
    _rename(folder, lambda name: name.replace("vision_tower.", "vision_tower.vision_model."), **positions)
    return folder


def write_tiled(
    folder: Path, kind: str = "smolvlm", seed: int = 0, split: bool = True, template: bool = True, tile: int = 56
) -> Path:
    """SmolVLM or Idefics3: images two tiles long, cut into tiles of ``tile`` pixels; 2 x 2 tokens a tile."""
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
    )

    folder.mkdir(parents=True, exist_ok=True)
    specials = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<unk>", "<image>", *TILE_MARKERS)
    roles = {"bos_token": "<|im_start|>", "eos_token": "<end_of_utterance>", "pad_token": "<|im_end|>"}
    vocabulary = write_tokenizer(folder, specials, **roles)
    sizes = {"size": {"longest_edge": 2 * tile}, "max_image_size": {"longest_edge": tile}}
    name = {"smolvlm": "SmolVLMImageProcessor", "idefics3": "Idefics3ImageProcessor"}[kind]
    _preprocessor(folder, name, **sizes, resample=1, do_pad=True, do_image_splitting=split)
    _fill_normalisation(folder, (0.5,) * 3, (0.5,) * 3)
    if template:
        (folder / "chat_template.jinja").write_text(SMOLVLM_TEMPLATE)
    (folder / "processor_config.json").write_text(json.dumps({"image_seq_len": 4}))
    tower = _square_tower("idefics3_vision" if kind == "idefics3" else "smolvlm_vision") | {"image_size": tile}
    end = vocabulary["<end_of_utterance>"]
    configs: dict[str, Any] = {
        "text_config": _text("llama", len(vocabulary), 32, 3, 4, 2, eos_token_id=end),
        "vision_config": tower,
        "image_token_id": vocabulary["<image>"],
        "scale_factor": 2,
        "tie_word_embeddings": kind == "smolvlm",
    }
    model: Any
    if kind == "smolvlm":
        model = SmolVLMForConditionalGeneration(SmolVLMConfig(**configs))
    else:
        model = Idefics3ForConditionalGeneration(Idefics3Config(**configs))
    _enliven(model, seed)
    banned = [[vocabulary["<fake_token_around_image>"]], [vocabulary["<image>"]]]
    _save(model, folder, end, {"bad_words_ids": banned})
    return folder


def write_qwen(
    folder: Path, version: str = "2", seed: int = 0, penalty: float = 1.0, bytes_: bool = False, flat: bool = True
) -> Path:
    """Qwen2-VL or Qwen2.5-VL; ``flat``: config.json as on the hub, the text's settings beside the vision's."""
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
    )

    folder.mkdir(parents=True, exist_ok=True)
    specials = ("<|endoftext|>", "<unk>", *QWEN_SPECIALS, "<|image_pad|>")
    make = write_byte_tokenizer if bytes_ else write_tokenizer
    vocabulary = make(folder, specials, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"chat_template": QWEN_TEMPLATE}))
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    limits = {"min_pixels": 28 * 28, "max_pixels": 28 * 28 * 12, "patch_size": 14, "merge_size": 2}
    _preprocessor(folder, "Qwen2VLImageProcessor", **limits, temporal_patch_size=2, resample=3)
    _fill_normalisation(folder, CLIP_MEAN, CLIP_STD)
    ends = [vocabulary["<|im_end|>"], vocabulary["<|endoftext|>"]]
    text = _text("qwen2_vl", len(vocabulary), 32, 3, 4, 2, eos_token_id=ends[0], bos_token_id=ends[1])
    del text["model_type"]
    text |= {"rope_theta": 10000.0, "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}}
    ids = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    ids |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
    tower: dict[str, Any] = {"depth": 3, "num_heads": 4, "patch_size": 14}
    tower |= {"spatial_merge_size": 2, "temporal_patch_size": 2}
    tower |= (
        {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2}
        if version == "2"
        else {"hidden_size": 32, "out_hidden_size": 32, "intermediate_size": 64, "window_size": 56}
        | {"fullatt_block_indexes": [1]}
    )
    numbers = {name: vocabulary[token] for name, token in ids.items()}
    model: Any
    if version == "2":
        model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(**text, **numbers, vision_config=dict(tower)))
    else:
        model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**text, **numbers, vision_config=dict(tower)))
    _enliven(model, seed)
    _save(model, folder, ends, {"repetition_penalty": penalty} if penalty != 1.0 else None)
    if flat:
        kind, name = ("qwen2_vl", "Qwen2VL") if version == "2" else ("qwen2_5_vl", "Qwen2_5_VL")
        config = {"architectures": [f"{name}ForConditionalGeneration"], "model_type": kind, **text, **numbers}
        config |= {"vision_config": {**tower, "in_chans": 3}, "torch_dtype": "float32", "tie_word_embeddings": False}
        (folder / "config.json").write_text(json.dumps(config, indent=2))
    return folder


WRITERS: Mapping[str, Callable[[Path], Path]] = {  # seeds: answers of different words
    "paligemma": partial(write_paligemma, seed=4),
    "paligemma 2": partial(write_paligemma, text="gemma2", hub=True, seed=6),
    "llava": write_llava,
    "llava next": partial(write_llava, nextgen=True),
    "smolvlm": write_tiled,
    "idefics3": partial(write_tiled, kind="idefics3"),
    "tiles with a rest": partial(write_tiled, tile=68),  # four patches of 14 and 12 pixels that none covers
    "one tile": partial(write_tiled, split=False, template=False),
    "qwen2 vl": write_qwen,
    "qwen2.5 vl": partial(write_qwen, version="2.5", penalty=1.2, seed=1),
}


def copied(folder: Path, place: Path) -> Path:
    """A copy of a checkpoint that a test may spoil."""
    return Path(shutil.copytree(folder, place / "copy"))


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file in place."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


if __name__ == "__main__":
    for case, write in WRITERS.items():
        print(f"wrote {write(Path(sys.argv[1]) / case.replace(' ', '-'))}")
