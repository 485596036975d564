"""What differs between kinds of vision-language models: class, images, plain prompt, and how the prompt is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from transformers import PretrainedConfig, PreTrainedModel
from transformers.models.idefics3.configuration_idefics3 import Idefics3Config
from transformers.models.idefics3.modeling_idefics3 import Idefics3ForConditionalGeneration
from transformers.models.llava.configuration_llava import LlavaConfig
from transformers.models.llava.modeling_llava import LlavaForConditionalGeneration
from transformers.models.llava_next.configuration_llava_next import LlavaNextConfig
from transformers.models.llava_next.modeling_llava_next import LlavaNextForConditionalGeneration
from transformers.models.paligemma.configuration_paligemma import PaliGemmaConfig
from transformers.models.paligemma.modeling_paligemma import PaliGemmaForConditionalGeneration
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLForConditionalGeneration
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMConfig
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMForConditionalGeneration

from models.checkpoint_files import CheckpointFiles
from models.families.chat_prompt import PlainForm
from models.families.vlm_anyres import AnyResolutionPictures
from models.families.vlm_pictures import DynamicPictures, Pictures, SquarePictures, TilePictures
from models.families.vlm_reading import CausalReading, GridReading, PrefixReading, Reading

PALIGEMMA = PlainForm("{images}{bos}{instruction}\n", "{token}", adds_bos=False)
LLAVA = PlainForm("USER: {images}{instruction} ASSISTANT:", "{token}\n")
QWEN = PlainForm("{images}{instruction}", "<|vision_start|>{token}<|vision_end|>")
IDEFICS = PlainForm("{images}{instruction}", "{token}")


@dataclass(frozen=True)
class VlmKind:
    model: type[PreTrainedModel]
    config: type[PretrainedConfig]
    pictures: Callable[[CheckpointFiles, PretrainedConfig, str], Pictures]
    plain: PlainForm  # the prompt where there is no chat template
    reading: Callable[[PreTrainedModel], Reading]
    chats: bool = True  # a chat template is used where there is one


VLM_KINDS: Mapping[str, VlmKind] = {
    "paligemma": VlmKind(
        PaliGemmaForConditionalGeneration, PaliGemmaConfig, SquarePictures, PALIGEMMA, PrefixReading, chats=False
    ),
    "llava": VlmKind(LlavaForConditionalGeneration, LlavaConfig, SquarePictures, LLAVA, CausalReading),
    "llava_next": VlmKind(
        LlavaNextForConditionalGeneration, LlavaNextConfig, AnyResolutionPictures, LLAVA, CausalReading
    ),
    "idefics3": VlmKind(Idefics3ForConditionalGeneration, Idefics3Config, TilePictures, IDEFICS, CausalReading),
    "smolvlm": VlmKind(SmolVLMForConditionalGeneration, SmolVLMConfig, TilePictures, IDEFICS, CausalReading),
    "qwen2_vl": VlmKind(Qwen2VLForConditionalGeneration, Qwen2VLConfig, DynamicPictures, QWEN, GridReading),
    "qwen2_5_vl": VlmKind(Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLConfig, DynamicPictures, QWEN, GridReading),
}
