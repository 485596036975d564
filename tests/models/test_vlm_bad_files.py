"""Vision-language checkpoints and observations that are wrong: one sentence says what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

import models
from models.checkpoint_files import CheckpointFiles
from models.errors import UserError
from models.families.vlm_kinds import VLM_KINDS
from models.policy import Policy
from models.types import Observation
from tests.contracts.policy_cases import observation
from tests.tiny_vlm import WRITERS, copied, edit, write_paligemma, write_qwen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (replace(observation(), images={}), "reads images, and the observation has none"),
        (replace(observation(), images={"a": np.zeros((0, 4, 3), np.uint8)}), "the image has no pixels"),
        (replace(observation(), images={"a": np.zeros((1, 900, 3), np.uint8)}), "of 1 x 900 pixels cannot be prepared"),
        (replace(observation(), instruction="put <|image_pad|> down"), "contains '<|image_pad|>', which is a control"),
        (replace(observation(), instruction="x" * 5000), "5000 characters; at most 4000"),
        (replace(observation(), instruction="up " * 1300), "the model has 2048 positions"),
    ],
)
def test_refuses_what_it_cannot_read(seen: Observation, sentence: str, tmp_path: Path) -> None:
    policy = models.load(write_qwen(tmp_path / "it"))
    if "2048" in sentence:
        seen = replace(seen, images={str(index): seen.images["image"] for index in range(60)})
    with pytest.raises(UserError, match=sentence.replace("|", r"\|")):
        policy.predict(seen)


@pytest.mark.slow
def test_a_kind_without_a_test_is_refused_with_the_list(tiny_vlms: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(tiny_vlms["llava"], tmp_path)
    edit(folder / "config.json", lambda content: content.update(model_type="fuyu"))
    with pytest.raises(UserError, match=r"model_type is 'fuyu'.*llava"):
        models.inspect(folder)
    with pytest.raises(UserError, match="model_type is 'fuyu'; the vision-language models that can be opened are"):
        models.inspect(folder, family="vlm")


@pytest.mark.slow
@pytest.mark.parametrize("case", WRITERS)
def test_a_tensor_that_is_not_there_is_named(case: str, tiny_vlms: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(tiny_vlms[case], tmp_path)
    tensors = load_file(folder / "model.safetensors")
    name = next(each for each in sorted(tensors) if "vis" in each and each.endswith("weight"))
    save_file({each: tensor for each, tensor in tensors.items() if each != name}, folder / "model.safetensors")
    ending = name.partition(".")[2].removeprefix("vision_model.").replace(".", r"\.")
    with pytest.raises(UserError, match=rf"lack the tensor \S+{ending}$"):
        models.load(folder)


@pytest.mark.parametrize(
    ("file", "change", "sentence"),
    [
        ("preprocessor_config.json", lambda each: each.update(patch_size=16), r"\(16, 2, 2\) for the image processor"),
        ("config.json", lambda each: each.update(image_token_id=5000), "names token 5000 for images"),
        ("generation_config.json", lambda each: each.update(eos_token_id="no"), "eos_token_id is 'no', expected a"),
        ("generation_config.json", lambda each: each.update(repetition_penalty=0), "repetition_penalty is 0.0"),
        ("generation_config.json", lambda each: each.update(bad_words_ids=[3]), "expected a list of lists"),
        ("tokenizer_config.json", lambda each: each.update(chat_template=3), "chat_template is 3, expected text"),
        ("tokenizer.json", lambda each: each.pop("model"), "no tokenizer that can be read"),
        (
            "preprocessor_config.json",
            lambda each: each.update(size=3, min_pixels="a"),
            "how images are prepared|cannot",
        ),
    ],
)
def test_broken_files_are_named(
    file: str, change: Callable[[dict[str, Any]], object], sentence: str, tiny_vlms: dict[str, Path], tmp_path: Path
) -> None:
    folder = copied(tiny_vlms["qwen2 vl"], tmp_path)
    edit(folder / file, change)
    with pytest.raises(UserError, match=sentence):
        models.load(folder).predict(observation())


def test_words_beyond_the_embeddings_are_named(tiny_vlms: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(tiny_vlms["paligemma 2"], tmp_path)
    edit(folder / "tokenizer_config.json", lambda each: each.update(bos_token="<begin>"))
    with pytest.raises(UserError, match=r"the prompt has the token \d+, the embeddings have \d+ rows; the tokenizer"):
        models.load(folder).predict(observation())


@pytest.mark.parametrize("missing", ["preprocessor_config.json", "tokenizer.json"])
@pytest.mark.parametrize("case", ["paligemma", "smolvlm", "qwen2 vl", "llava next"])
def test_missing_files_are_named(case: str, missing: str, tiny_vlms: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(tiny_vlms[case], tmp_path)
    (folder / missing).unlink()
    with pytest.raises(UserError, match="tokenizer" if "tokenizer" in missing else "how images are prepared"):
        models.load(folder)


def test_code_in_the_folder_is_never_run(tiny_vlms: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(tiny_vlms["smolvlm"], tmp_path)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    names = ("AutoConfig", "AutoProcessor", "AutoTokenizer", "AutoModelForImageTextToText", "AutoImageProcessor")
    for file in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
        edit(folder / file, lambda content: content.update(auto_map=dict.fromkeys(names, "evil.Evil")))
    try:
        policy: Policy | None = models.load(folder)
    except UserError:
        policy = None
    assert not (tmp_path / "ran").exists()
    if policy is not None:
        assert "never run" in policy.info.notes["auto_map"]


def test_canvases_of_processor_and_model_agree(tiny_vlms: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(tiny_vlms["llava next"], tmp_path)
    edit(folder / "preprocessor_config.json", lambda content: content.update(image_grid_pinpoints=[[56, 56]]))
    with pytest.raises(UserError, match="image_grid_pinpoints of the image processor are not those"):
        models.load(folder)


def test_pictures_name_a_tower_that_drops_a_patch(tmp_path: Path) -> None:
    folder = write_paligemma(tmp_path / "it")
    files = CheckpointFiles.open(folder)
    config = AutoConfig.from_pretrained(folder)
    config.vision_feature_select_strategy = "default"
    with pytest.raises(UserError, match="a patch would be missing"):
        VLM_KINDS["paligemma"].pictures(files, config, "<image>")
