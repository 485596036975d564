"""A vision-language checkpoint's chat template and tokenizer, read as data: no code of the folder's is run."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import AutoTokenizer

from models.checkpoint_files import CheckpointFiles
from models.config_section import ConfigSection
from models.errors import UserError


def chat_template(files: CheckpointFiles) -> str | None:
    """The Jinja source of a checkpoint's chat template, from wherever transformers of any age wrote it."""
    if (file := files.find("chat_template.jinja")) is not None:
        return file.read_text(encoding="utf-8")
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        file = files.find(name)
        section = ConfigSection.read(file) if file is not None else None
        if section is not None and section.has("chat_template"):
            return _default_template(section)
    return None


def _default_template(section: ConfigSection) -> str:
    """A template, or the one named "default" of a list of several."""
    value = section.fields["chat_template"]
    if isinstance(value, list):
        named = {each.get("name"): each.get("template") for each in value if isinstance(each, dict)}
        value = named.get("default")
    if not isinstance(value, str):
        raise UserError(f"{section.where} chat_template is {value!r}, expected text or a list with one named default")
    return value


class ChatTokenizer:
    """A checkpoint's tokenizer, and what stands for an image in its text."""

    def __init__(self, files: CheckpointFiles, image_token: int):
        """Raises UserError for a tokenizer that cannot be read or has no such token."""
        try:
            tokenizer = AutoTokenizer.from_pretrained(files.model, local_files_only=True, trust_remote_code=False)
            self.backend = tokenizer.backend_tokenizer  # used directly: transformers' wrapper is not thread-safe
            special = {self.backend.token_to_id(text): text for text in tokenizer.all_special_tokens}
            self.bos, self.unknown = str(tokenizer.bos_token or ""), tokenizer.unk_token_id
        except Exception as error:  # tokenizers raises bare Exception
            reason = " ".join(str(error).split())
            raise UserError(f"{files.model} has no tokenizer that can be read here ({reason})") from error
        self.backend.no_padding()
        self.backend.no_truncation()
        self.named = {
            name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)
        }
        added = {int(id_): str(each) for id_, each in tokenizer.added_tokens_decoder.items() if each.special}
        self.special = {**added, **special}
        token = self.backend.id_to_token(image_token) if image_token >= 0 else None
        if token is None:
            raise UserError(f"config.json names token {image_token} for images, which the tokenizer does not have")
        self.image = str(token)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.backend.decode(list(ids), skip_special_tokens=False))

    def encode_words(self, text: str, ends: Sequence[int]) -> list[int]:
        """A rationale as ids. Raises UserError for one that would end the answer."""
        ids = [int(token) for token in self.backend.encode(text, add_special_tokens=False).ids]
        for token in ids:
            if token in ends:
                name = self.backend.id_to_token(token)
                raise UserError(f"the rationale contains {name!r}, a control token that cannot be part of it")
        return ids

    def shown(self, token: int) -> str:
        """A generated token as a person should read it."""
        text = self.decode([token])
        return visible(text if "\ufffd" not in text else str(self.backend.id_to_token(token)))


def visible(text: str) -> str:
    """Text of one token with its white space made visible where it is nothing else."""
    return text.replace("\n", "\\n").replace("\t", "\\t").strip() or "␣"
