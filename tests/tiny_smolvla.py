"""Tiny random-weight SmolVLA policies in LeRobot's published layouts, with a backbone folder beside them.

Names and shapes are written out here, not taken from the loader: a loader that expects others fails.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.tiny_checkpoints import SENTENCES

BACKBONE = "SmolVLM2-tiny-Instruct"
MARKS = ("<fake_token_around_image>", "<global-img>", "<image>", "<|im_start|>", "<|endoftext|>")
WIDTH, HEADS, KV_HEADS, HEAD, FEED, LAYERS = 32, 4, 2, 8, 48, 4
VISION, VISION_FEED, VISION_LAYERS, VISION_HEADS, IMAGE, PATCH, JOINED = 24, 40, 2, 3, 64, 8, 2
EXPERT, EXPERT_FEED = 24, 256  # 0.75 of WIDTH; 8/3 of EXPERT rounded up to 256
STATE, ACTION, STATE_PAD, ACTION_PAD, CHUNK, STEPS = 6, 7, 10, 12, 5, 3
VLM, LM_EXPERT = "model.vlm_with_expert.vlm.model.", "model.vlm_with_expert.lm_expert."
Tensors = dict[str, np.ndarray]


def write_smolvla(
    folder: Path,
    cameras: Sequence[str] = ("top", "wrist"),
    layout: str = "processors",  # or "buffers", which LeRobot wrote before v0.4; or "none": no statistics at all
    vlm_layers: int = 3,
    data_sets: Sequence[str] = ("",),  # of the buffers
    norm: Mapping[str, str] | None = None,
    rename: Mapping[str, str] | None = None,
    backbone_kind: str = "smolvlm",
    tied_head: bool = False,
    seed: int = 0,
    **settings: Any,
) -> Path:
    """The policy's folder; ``settings`` go into config.json. The backbone is written beside it where there is none."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    config = _config(cameras, norm or {"VISUAL": "IDENTITY", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"}, vlm_layers)
    config.update(settings)
    write_backbone(folder.parent / BACKBONE, backbone_kind)
    tensors = _weights(random, config)
    if tied_head:  # what safetensors keeps of two tensors that share memory
        tensors["model.vlm_with_expert.vlm.lm_head.weight"] = tensors.pop(f"{VLM}text_model.embed_tokens.weight")
    features = {**config["input_features"], **config["output_features"]}
    if layout == "processors":
        _processors(folder, config, _statistics(random, features), rename or {})
    if layout == "buffers":
        for data_set in data_sets:
            tensors.update(_buffers(_statistics(random, features), config, data_set))
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_backbone(folder: Path, kind: str = "smolvlm") -> Path:
    """config.json and tokenizer, as far as a policy needs them; no weights."""
    if folder.exists():
        return folder
    folder.mkdir(parents=True)
    size = _tokenizer(folder)
    text: dict[str, Any] = {
        "model_type": "llama",
        "hidden_size": WIDTH,
        "intermediate_size": FEED,
        "num_hidden_layers": LAYERS,
    }
    text |= {"num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD, "vocab_size": size}
    text |= {"rms_norm_eps": 1e-5, "rope_theta": 100000, "pad_token_id": 2, "torch_dtype": "bfloat16"}
    vision: dict[str, Any] = {
        "hidden_size": VISION,
        "intermediate_size": VISION_FEED,
        "num_hidden_layers": VISION_LAYERS,
    }
    vision |= {"num_attention_heads": VISION_HEADS, "image_size": IMAGE, "patch_size": PATCH}
    vision |= {"model_type": f"{kind}_vision" if kind == "smolvlm" else kind}
    config = {"model_type": kind, "text_config": text, "vision_config": vision, "scale_factor": JOINED}
    (folder / "config.json").write_text(json.dumps({**config, "image_token_id": 0}, indent=2))
    return folder


def _tokenizer(folder: Path) -> int:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [SENTENCES], trainers.BpeTrainer(vocab_size=400, special_tokens=list(MARKS), initial_alphabet=alphabet)
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"fake_image_token": MARKS[0], "global_image_token": MARKS[1], "image_token": MARKS[2]}
    (folder / "tokenizer_config.json").write_text(json.dumps({"extra_special_tokens": named}))
    return int(tokenizer.get_vocab_size())


def _config(cameras: Sequence[str], norm: Mapping[str, str], vlm_layers: int) -> dict[str, Any]:
    images = {f"observation.images.{name}": {"type": "VISUAL", "shape": [3, 96, 128]} for name in cameras}
    state = {"observation.state": {"type": "STATE", "shape": [STATE]}}
    return {
        "type": "smolvla",
        "n_obs_steps": 1,
        "input_features": {**state, **images},
        "output_features": {"action": {"type": "ACTION", "shape": [ACTION]}},
        "chunk_size": CHUNK,
        "n_action_steps": 4,
        "normalization_mapping": dict(norm),
        "max_state_dim": STATE_PAD,
        "max_action_dim": ACTION_PAD,
        "resize_imgs_with_padding": [IMAGE, IMAGE],
        "empty_cameras": 0,
        "adapt_to_pi_aloha": False,
        "tokenizer_max_length": 48,
        "num_steps": STEPS,
        "use_cache": True,
        "vlm_model_name": f"HuggingFaceTB/{BACKBONE}",
        "load_vlm_weights": True,
        "add_image_special_tokens": False,
        "attention_mode": "cross_attn",
        "prefix_length": -1,
        "pad_language_to": "longest",
        "num_expert_layers": -1,
        "num_vlm_layers": vlm_layers,
        "self_attn_every_n_layers": 2,
        "expert_width_multiplier": 0.75,
        "min_period": 0.004,
        "max_period": 4.0,
    }


def _statistics(random: np.random.Generator, features: Mapping[str, Any]) -> dict[str, Tensors]:
    statistics: dict[str, Tensors] = {}
    for name, feature in features.items():
        shape = (3, 1, 1) if feature["type"] == "VISUAL" else tuple(feature["shape"])
        low = random.uniform(-1, 0, shape).astype(np.float32)
        high = low + random.uniform(0.5, 2, shape).astype(np.float32)
        mean, std = (low + high) / 2, (high - low) / 5
        statistics[name] = {"min": low, "max": high, "mean": mean, "std": std, "count": np.array([100.0], np.float32)}
        statistics[name] |= {"q01": low + 0.05, "q99": high - 0.05, "q10": low + 0.1, "q90": high - 0.1}
    return statistics


def _buffers(statistics: Mapping[str, Tensors], config: Mapping[str, Any], data_set: str) -> Tensors:
    kept = {"MEAN_STD": ("mean", "std"), "MIN_MAX": ("min", "max"), "IDENTITY": ()}
    tensors: Tensors = {}
    for group, features in (
        ("normalize_inputs", config["input_features"]),
        ("normalize_targets", config["output_features"]),
        ("unnormalize_outputs", config["output_features"]),
    ):
        for name, feature in features.items():
            for statistic in kept[config["normalization_mapping"][feature["type"]]]:
                spelled = f"{data_set}_buffer" if data_set else "buffer"
                place = f"{group}.{spelled}_{name.replace('.', '_')}.{statistic}"
                tensors[place] = statistics[name][statistic]
    return tensors


def _processors(
    folder: Path, config: Mapping[str, Any], statistics: Mapping[str, Tensors], rename: Mapping[str, str]
) -> None:
    inputs, outputs = config["input_features"], config["output_features"]
    scaled = {"eps": 1e-8, "features": {**inputs, **outputs}, "norm_map": config["normalization_mapping"]}
    words = {"max_length": config["tokenizer_max_length"], "task_key": "task", "padding_side": "right"}
    words |= {"padding": config["pad_language_to"], "truncation": True, "tokenizer_name": config["vlm_model_name"]}
    before = [
        ("rename_observations_processor", {"rename_map": dict(rename)}),
        ("to_batch_processor", {}),
        ("smolvla_new_line_processor", {}),
        ("tokenizer_processor", words),
        ("device_processor", {"device": "cuda", "float_dtype": None}),
        ("normalizer_processor", scaled),
    ]
    after = [
        ("unnormalizer_processor", {**scaled, "features": outputs}),
        ("device_processor", {"device": "cpu", "float_dtype": None}),
    ]
    flat = {f"{name}.{key}": value for name, each in statistics.items() for key, value in each.items()}
    for kind, steps in (("policy_preprocessor", before), ("policy_postprocessor", after)):
        entries: list[dict[str, Any]] = []
        for index, (name, settings) in enumerate(steps):
            entries.append({"registry_name": name, "config": settings})
            if "normalizer" in name:
                file = f"{kind}_step_{index}_{name}.safetensors"
                entries[-1]["state_file"] = file
                save_file(flat, folder / file)
        (folder / f"{kind}.json").write_text(json.dumps({"name": kind, "steps": entries}, indent=2))


def _weights(random: np.random.Generator, config: Mapping[str, Any]) -> Tensors:
    tensors: Tensors = {}

    def linear(name: str, inputs: int, outputs: int, bias: bool = False) -> None:
        tensors[f"{name}.weight"] = random.normal(0, inputs**-0.5, (outputs, inputs)).astype(np.float32)
        if bias:
            tensors[f"{name}.bias"] = random.normal(0, 0.1, outputs).astype(np.float32)

    def norm(name: str, width: int, bias: bool = False) -> None:
        tensors[f"{name}.weight"] = random.normal(1, 0.1, width).astype(np.float32)
        if bias:
            tensors[f"{name}.bias"] = random.normal(0, 0.1, width).astype(np.float32)

    def llama(name: str, width: int, feed: int, keys_from: int) -> None:
        linear(f"{name}.self_attn.q_proj", width, HEADS * HEAD)
        linear(f"{name}.self_attn.k_proj", keys_from, KV_HEADS * HEAD)
        linear(f"{name}.self_attn.v_proj", keys_from, KV_HEADS * HEAD)
        linear(f"{name}.self_attn.o_proj", HEADS * HEAD, width)
        linear(f"{name}.mlp.gate_proj", width, feed)
        linear(f"{name}.mlp.up_proj", width, feed)
        linear(f"{name}.mlp.down_proj", feed, width)
        norm(f"{name}.input_layernorm", width)
        norm(f"{name}.post_attention_layernorm", width)

    vision = f"{VLM}vision_model"
    pixels = random.normal(0, (3 * PATCH**2) ** -0.5, (VISION, 3, PATCH, PATCH))
    tensors[f"{vision}.embeddings.patch_embedding.weight"] = pixels.astype(np.float32)
    tensors[f"{vision}.embeddings.patch_embedding.bias"] = random.normal(0, 0.1, VISION).astype(np.float32)
    places = random.normal(0, 0.3, ((IMAGE // PATCH) ** 2, VISION))
    tensors[f"{vision}.embeddings.position_embedding.weight"] = places.astype(np.float32)
    for layer in range(VISION_LAYERS):
        name = f"{vision}.encoder.layers.{layer}"
        for projection in ("k_proj", "v_proj", "q_proj", "out_proj"):
            linear(f"{name}.self_attn.{projection}", VISION, VISION, bias=True)
        linear(f"{name}.mlp.fc1", VISION, VISION_FEED, bias=True)
        linear(f"{name}.mlp.fc2", VISION_FEED, VISION, bias=True)
        norm(f"{name}.layer_norm1", VISION, bias=True)
        norm(f"{name}.layer_norm2", VISION, bias=True)
    norm(f"{vision}.post_layernorm", VISION, bias=True)
    linear(f"{VLM}connector.modality_projection.proj", VISION * JOINED**2, WIDTH)

    vocabulary = 400
    tensors[f"{VLM}text_model.embed_tokens.weight"] = random.normal(0, 1, (vocabulary, WIDTH)).astype(np.float32)
    layers = config["num_vlm_layers"] if config["num_vlm_layers"] > 0 else LAYERS
    for layer in range(layers):
        llama(f"{VLM}text_model.layers.{layer}", WIDTH, FEED, WIDTH)
    norm(f"{VLM}text_model.norm", WIDTH)
    linear("model.vlm_with_expert.vlm.lm_head", WIDTH, vocabulary)

    every = config["self_attn_every_n_layers"]
    cross = "cross" in config["attention_mode"]
    for layer in range(config["num_expert_layers"] if config["num_expert_layers"] > 0 else layers):
        projects = cross and not (every > 0 and layer % every == 0)
        llama(f"{LM_EXPERT}layers.{layer}", EXPERT, EXPERT_FEED, KV_HEADS * HEAD if projects else EXPERT)
    norm(f"{LM_EXPERT}norm", EXPERT)
    linear("model.state_proj", STATE_PAD, WIDTH, bias=True)
    linear("model.action_in_proj", ACTION_PAD, EXPERT, bias=True)
    linear("model.action_out_proj", EXPERT, ACTION_PAD, bias=True)
    linear("model.action_time_mlp_in", 2 * EXPERT, EXPERT, bias=True)
    linear("model.action_time_mlp_out", EXPERT, EXPERT, bias=True)
    return tensors
