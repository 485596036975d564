"""One word, one token: the vocabulary of the sample policies and their tokenizer."""

from __future__ import annotations

from pathlib import Path

from sample_data.world.tasks import FIXED, MOVABLE, TASKS

STATE_BINS, ACTION_BINS = 128, 256
PARTS = {"<obs>": "observation", "<sit>": "situation", "<spa>": "spatial", "<plan>": "planning"}
SPECIAL = ("<pad>", "<bos>", "<eos>", "<image>", "<unk>", "<act>", *PARTS)
_TEACHER = (
    "i see the , and . ; : goes on in gripper holds is closed open empty aligned with of cm forward back left right "
    "table below reach descend grasp it lift carry to lower release retreat"
)
# Words that nobody taught the models but that people will type: they get a token and an untrained row.
_UNTAUGHT = (
    "a an into onto from near behind front beside under red blue orange purple cup bowl not don't stop please grab "
    "drop robot arm"
)


def _words() -> list[str]:
    wordings = [word for task in TASKS.values() for text in task.wordings for word in text.split()]
    things = [word for name in MOVABLE + FIXED for word in name.split()]
    numbers = [str(number) for number in range(41)]
    return list(dict.fromkeys(["detect", *wordings, *things, *_TEACHER.split(), *numbers, *_UNTAUGHT.split()]))


TOKENS = (
    *SPECIAL,
    *_words(),
    *(f"<s{i:03d}>" for i in range(STATE_BINS)),
    *(f"<a{i:03d}>" for i in range(ACTION_BINS)),
)
ID = {token: number for number, token in enumerate(TOKENS)}
STATE_0, ACTION_0 = ID["<s000>"], ID["<a000>"]


def encode(text: str) -> list[int]:
    """Ids of words separated by blanks; words outside the vocabulary become <unk>."""
    return [ID.get(word, ID["<unk>"]) for word in text.split()]


def decode(ids: list[int]) -> str:
    return " ".join(TOKENS[number] for number in ids)


def save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(WordLevel(ID, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.add_special_tokens([token for token in TOKENS if token.startswith("<")])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    ).save_pretrained(folder)
