"""ECoT: how it is recognised, its reasoning as spans, parts and marks, its action by range, and words forced on it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

import models
from models.action_tokens import ActionScale
from models.errors import UserError
from models.families.ecot_answer import AnswerReader
from models.families.openvla_actions import OpenVLAActions
from models.families.openvla_answer import ActionReader
from models.types import Capture, Part, Rationale, Span, TokenLayout
from tests.contracts.policy_cases import observation
from tests.models.test_openvla import eager
from tests.tiny_openvla import ACTIONS, EOS, REASONING, write_ecot

EVERYTHING = Capture(queries=tuple(Part), prefix=True, vision=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ecot(tmp_path_factory.mktemp("ecot") / "ecot-tiny")


@pytest.fixture(scope="module")
def policy(folder: Path) -> models.policy.Policy:
    return models.load(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "config", "asked", "family"),
    [
        ("ecot-openvla-7b-bridge", {}, None, "ecot"),
        ("mine", {"_name_or_path": "Embodied-CoT/ecot-openvla-7b-bridge"}, None, "ecot"),
        ("my_ECoT_run", {}, None, "ecot"),
        ("mine", {}, None, "openvla"),
        ("decoten", {}, None, "openvla"),
        ("mine", {}, "ecot", "ecot"),
        ("ecot-openvla-7b-bridge", {}, "openvla", "openvla"),
    ],
)
def test_recognised_by_name_or_by_the_caller(
    name: str, config: dict, asked: str | None, family: str, tmp_path: Path
) -> None:
    info = models.inspect(write_ecot(tmp_path / name, **config), family=asked)
    assert info.family == family
    assert info.generates_rationale == (family == "ecot")
    assert "ecot" in info.notes["family"].lower()
    assert models.load(info.path, family=asked).info.family == family


@pytest.mark.slow
def test_notes_say_what_was_decided(folder: Path, tmp_path: Path) -> None:
    assert "as it is called 'ecot-tiny'" in models.inspect(folder).notes["family"]
    asked = models.inspect(write_ecot(tmp_path / "mine"), family="ecot")
    assert 'opened with family="ecot"' in asked.notes["family"]
    assert "1024 tokens" in asked.notes["reasoning"]


def test_a_hub_cache_is_called_as_its_repository(tmp_path: Path) -> None:
    cached = tmp_path / "models--Embodied-CoT--ecot-openvla-7b-bridge" / "snapshots" / "0123abcd"
    assert models.inspect(write_ecot(cached)).family == "ecot"


@pytest.mark.slow
def test_writes_its_reasoning_then_its_action(policy: models.policy.Policy) -> None:
    said = policy.predict(observation())
    assert said.text == REASONING
    assert said.rationale is not None
    assert list(said.rationale.parts)[:3] == ["task", "plan", "visible objects"]
    assert said.rationale.parts["subtask reasoning"] == "gripper is open"
    assert said.tokens[-1] == EOS
    np.testing.assert_array_equal([token in ACTIONS for token in said.tokens[-8:]], [True] * 7 + [False])
    assert said.actions.shape == (1, 7)
    for each, token in zip(said.action_distribution, said.tokens[-8:-1], strict=True):
        assert each.values[31999 - token] == pytest.approx(said.actions[0, each.token - len(said.tokens) + 8])
        assert each.values[each.probabilities.argmax()] == pytest.approx(each.values[31999 - token])


def test_prompt_ends_in_the_first_tag(policy: models.policy.Policy) -> None:
    tokens = policy.layout(observation()).tokens
    assert tokens[-2:] == ("ASSISTANT:", "TASK:"), "no lone space marker, as in the published code"
    assert tokens[26:29] == ("A", "chat", "between")


@pytest.mark.slow
def test_spans_name_tags_words_and_actions(policy: models.policy.Policy) -> None:
    said = policy.predict(observation())
    prompt = len(said.layout.tokens) - len(said.tokens)
    written = [(span.part, span.name) for span in said.layout.spans if span.start >= prompt]
    assert written[:4] == [
        (Part.RATIONALE, "task"),
        (Part.SPECIAL, "PLAN:"),
        (Part.RATIONALE, "plan"),
        (Part.SPECIAL, "VISIBLE OBJECTS:"),
    ]
    assert written[-9:-1] == [(Part.SPECIAL, "ACTION:"), *((Part.ACTION, name) for name in said.action_names)]
    assert written[-1] == (Part.SPECIAL, "eos")
    spans = {
        span.name: said.layout.tokens[span.start : span.stop] for span in said.layout.spans if span.start >= prompt
    }
    assert spans["subtask"] == ("approach", "it")
    assert spans["SUBTASK REASONING:"] == ("SUBTASK", "REASONING:")


@pytest.mark.slow
def test_marks_lie_on_the_original_frame(policy: models.policy.Policy) -> None:
    said = policy.predict(observation())  # 128 x 96, squeezed to a square
    at = {mark.name: mark.at for mark in said.marks}
    assert at["pot"] == pytest.approx((10 / 2, 20 * 96 / 256, 60 / 2, 71 * 96 / 256))
    assert at["red cloth"] == pytest.approx((50, 110 * 96 / 256, 128, 90)), "cut at the frame's edge"
    assert at["gripper"] == pytest.approx((64, 24))


@pytest.mark.slow
def test_rows_equal_eager(policy: models.policy.Policy) -> None:
    said = policy.predict(observation(), EVERYTHING)
    rows, logprobs = eager(policy, observation(), said.tokens)
    np.testing.assert_allclose(said.attention[0].weights, rows, atol=1e-5)
    np.testing.assert_allclose(said.token_logprobs, logprobs[np.arange(len(said.tokens)), said.tokens], atol=1e-4)
    assert [each.stream for each in said.attention] == ["language", "vision dinov2", "vision siglip"]


@pytest.mark.slow
def test_the_image_decides_the_action(policy: models.policy.Policy) -> None:
    said = [policy.predict(observation(seed)) for seed in range(6)]
    assert len({tuple(each.tokens) for each in said}) > 1
    assert len({each.text for each in said}) == 1


def test_forced_reasoning(policy: models.policy.Policy) -> None:
    said = policy.predict(observation(), Capture(), force=Rationale({"task": "stack", "plan": "move up"}))
    assert said.text == "stack PLAN: move up ACTION:"
    assert dict(said.rationale.parts) == {"task": "stack", "plan": "move up"}
    assert said.actions.shape == (1, 7)
    with pytest.raises(UserError, match="control token"):
        policy.predict(observation(), force="stack </s> PLAN: move")
    with pytest.raises(UserError, match="no rationale part situation"):
        policy.predict(observation(), force=Rationale({"situation": "x"}))


@pytest.mark.slow
def test_without_an_action_it_says_so(tmp_path: Path) -> None:
    """The third action token ends the answer: what was written before it is no action."""
    folder = write_ecot(tmp_path / "ecot")
    whole = models.load(folder).predict(observation())
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["eos_token_id"] = int(whole.tokens[-6])
    (folder / "config.json").write_text(json.dumps(config))
    policy = models.load(folder)
    said = policy.predict(observation(), EVERYTHING)
    np.testing.assert_array_equal(said.tokens, whole.tokens[:-5])
    assert said.actions.shape == (0, 7)
    assert said.text == f"{REASONING}\n[no action: 2 of 7 action tokens were written]"
    assert said.rationale.parts == whole.rationale.parts
    assert Part.ACTION not in {span.part for span in said.layout.spans}
    assert policy.predict(observation(), force=said.text).text == said.text, "the remark is not forced with the words"


@pytest.mark.slow
def test_stops_where_its_positions_end(tmp_path: Path) -> None:
    folder = write_ecot(tmp_path / "ecot")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 66 + 12
    (folder / "config.json").write_text(json.dumps(config))
    said = models.load(folder).predict(observation())
    assert len(said.tokens) == 12
    assert said.text.endswith("[no action: 0 of 7 action tokens were written]")


class TestSubwords:
    """Pieces as Llama's tokenizer cuts them: tags and words share no borders with tokens."""

    PIECES = ("▁pick", "▁it", "▁P", "LAN", ":", "▁go", "▁SU", "BT", "ASK", "▁RE", "ASON", "ING", "▁AC", "TION", "▁")

    @pytest.fixture
    def tokenizer(self) -> Tokenizer:
        from tokenizers import decoders, models, normalizers

        pieces = [("<unk>", -1.0), ("<s>", -1.0), ("</s>", -1.0), *((piece, -1.0) for piece in self.PIECES)]
        tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
        return tokenizer

    def read(self, tokenizer: Tokenizer, pieces: str, actions: list[int]):
        class Config:
            actions = OpenVLAActions(32000, 256)
            eos = EOS

        scale = ActionScale((-1,) * 2, (1,) * 2, (True,) * 2)
        reader = AnswerReader(Config, tokenizer, ActionReader(Config.actions, scale))
        ids = [tokenizer.token_to_id(piece) for piece in pieces.split()]
        prompt = TokenLayout(("<s>",), (Span(Part.SPECIAL, "bos", 0, 1),))
        return reader([*ids, *actions, EOS], prompt)

    def test_each_piece_knows_what_it_is(self, tokenizer: Tokenizer) -> None:
        pieces = "▁pick ▁it ▁P LAN : ▁go ▁SU BT ASK ▁RE ASON ING : ▁it ▁SU BT ASK : ▁pick ▁AC TION : ▁"
        answer = self.read(tokenizer, pieces, [31800, 31900])
        assert answer.text.strip() == "pick it PLAN: go SUBTASK REASONING: it SUBTASK: pick ACTION:"
        assert [(span.name, span.stop - span.start) for span in answer.layout.spans[1:]] == [
            ("task", 2),
            ("PLAN:", 3),
            ("plan", 1),
            ("SUBTASK REASONING:", 7),
            ("subtask reasoning", 1),
            ("SUBTASK:", 4),
            ("subtask", 1),
            ("ACTION:", 4),  # with the lone space marker behind it
            ("action 0", 1),
            ("action 1", 1),
            ("eos", 1),
        ]

    def test_of_too_many_action_tokens_the_last_before_the_end_are_taken(self, tokenizer: Tokenizer) -> None:
        answer = self.read(tokenizer, "▁go ▁AC TION :", [31750, 31800, 31900])
        assert answer.written.tokens == (5, 6)
        assert answer.written.actions[0] == pytest.approx([-1 + 2 * 199.5 / 255, -1 + 2 * 99.5 / 255])

    def test_action_tokens_need_not_stand_together(self, tokenizer: Tokenizer) -> None:
        class Config:
            actions = OpenVLAActions(32000, 256)
            eos = EOS

        reader = ActionReader(Config.actions, ActionScale((-1,) * 2, (1,) * 2, (True,) * 2))
        prompt = TokenLayout(("<s>",), (Span(Part.SPECIAL, "bos", 0, 1),))
        space = tokenizer.token_to_id("▁")
        answer = AnswerReader(Config, tokenizer, reader)([31800, space, 31900, EOS], prompt)
        assert answer.written.tokens == (0, 2)

    def test_nothing_but_the_end(self, tokenizer: Tokenizer) -> None:
        answer = self.read(tokenizer, "", [])
        assert answer.text == ""
        assert answer.written.actions.shape == (0, 2)
        assert [span.name for span in answer.layout.spans] == ["bos", "eos"]
