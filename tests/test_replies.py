"""What models and servers put around an answer never becomes a part of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_batches import FakeBatches
from fake_batches import answer as told_answer
from fake_server import FakeServer, completion
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from retinal_lib import UserError
from retinal_lib.check import conversation_check, form
from retinal_lib.conversation import to_llava
from retinal_lib.evaluate import scored_answers
from retinal_lib.facts import Case, Fact, Source
from retinal_lib.inference.server_model import ServerModel
from retinal_lib.teacher.reply_parser import Unparsable, parse
from retinal_lib.teacher.teachers import OpenAITeacher
from retinal_lib.text import reply_text
from retinal_lib.text.reply_text import NoAnswer, answer

DRAFT = "User: a draft?\nAssistant: Draft."
TALK = "User: Which eye?\nAssistant: The left eye.\nUser: Is it ill?\nAssistant: It is normal."
HARMONY = "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>"
THOUGHTS = [
    "<think>\n{}\n</think>\n\n",
    "{}\nThat is right.\n</think>\n\n",
    "<think></think>",
    "<thinking>{}</thinking>",
    "Sure.\n<thought>{}</thought>\n",
    "<reasoning>{}</reasoning>\n",
    "[THINK]{}[/THINK]",
    "<unused94>thought\n{}<unused95>",
    "<|channel>thought\n{}<channel|>",
    HARMONY,
    "<|channel|>commentary to=none<|message|>{}<|end|><|start|>assistant<|channel|>final <|constrain|>text<|message|>",
    "analysisWe draft. {}assistantfinal",
    "◁think▷{}◁/think▷",
    "<|begin_of_thought|>{}<|end_of_thought|>\n\n<|begin_of_solution|>\n",
    "<|START_THINKING|>{}<|END_THINKING|><|START_RESPONSE|>",
    "<seed:think>{}</seed:think>",
    "<think>one</think> <think>{}</think>",
    "<|im_start|>assistant\n<think>{}</think>\n",
    "<｜Assistant｜><think>\n{}</think>\n",
    "&lt;think&gt;{}&lt;/think&gt;",
    '<details type="reasoning" done="true">\n{}\n</details>\n',
    "Thinking Process:\n\n1. Draft\n{}\n2. All fine.\n\n**Final:**\n",
    "Here is my thought process:\n{}\n\nHere is my response:\n",
    "Here's a thinking process that leads to it:\n\n1. {}\n\n### Final Output Generation:\n",
]
ENDS = [
    "",
    "</answer>",
    "\n</conversation>\n\nI hope this helps!",
    "<|im_end|>\n<|im_start|>user\nMore?<|im_end|>",
    "<|im_end|>\n<|im_start|>assistant\n<think>x</think>No.",
    "<|eot_id|>",
    "</s>",
    "<|return|>",
    "<end_of_turn>\n<eos>",
    "<|end_of_solution|>",
    "<｜end▁of▁sentence｜>",
    "assistant\n\nHere is more",
    "[end of text]",
    " [INST] And now?",
]


@pytest.mark.parametrize("thoughts", THOUGHTS)
def test_thoughts_go(thoughts: str) -> None:
    text = thoughts.format(DRAFT) if "{" in thoughts else thoughts
    assert answer(text + TALK) == TALK
    assert to_llava(parse(text + TALK)) == to_llava(parse(TALK))
    assert answer(text + "Grade 2.") == "Grade 2."


@pytest.mark.parametrize("end", ENDS)
def test_what_follows_an_answer_goes(end: str) -> None:
    assert answer(TALK + end) == TALK and answer(f"<think>{DRAFT}</think>{TALK}{end}") == TALK


@given(st.sampled_from(THOUGHTS), st.sampled_from(ENDS))
def test_an_answer_read_twice_is_the_same(thoughts: str, end: str) -> None:
    once = answer(thoughts.replace("{}", DRAFT) + TALK + end)
    assert answer(once) == once and not any(reply_text.mark_in(part) for turn in parse(once) for part in turn)


@pytest.mark.parametrize(
    "reply",
    [
        f"<think>{DRAFT}",
        f"{TALK}\n<think>Was that right?",
        f"[THINK]{DRAFT}",
        f"<unused94>thought\n{DRAFT}",
        f"<|channel|>analysis<|message|>{DRAFT}",
        f"<|channel|>analysis<|message|>{DRAFT}<|end|>",
        f"analysisWe draft. {DRAFT}",
        f"Thinking Process:\n\n1. {DRAFT}",
        f"<think>{DRAFT}</think><think>{DRAFT}",
    ],
)
def test_a_reply_that_is_cut_in_its_thoughts_is_no_answer(reply: str) -> None:
    with pytest.raises(NoAnswer, match=r"cut in its thoughts|thoughts alone"):
        answer(reply)
    with pytest.raises(Unparsable, match="thoughts"):
        parse(reply)


@pytest.mark.parametrize(
    "plain",
    [
        "At [0.1, 0.2, 0.3, 0.4], where I think of drusen; thought to be <2 disc diameters, >1.",
        "The reasoning: 1 < 2 and 3 > 2. In the final analysis, it is normal.",
        "Is it [sic] normal? I think so.\n\n| a | b |\n|---|---|",
    ],
)
def test_plain_text_stays(plain: str) -> None:
    assert answer(plain) == plain and reply_text.mark_in(plain) is None


def test_an_answer_in_marks_is_what_stands_in_them() -> None:
    assert answer("I see drusen, grade 1 or 2.\n<answer>2</answer>\nI hope so.") == "2"
    assert answer("The grade is <|begin_of_box|>2<|end_of_box|>.") == "The grade is 2."
    many = TALK.replace("The left eye.", "<answer>The left eye.</answer>").replace(
        "It is normal.", "<answer>It is normal.</answer>"
    )
    assert answer(many) == TALK


def test_hyphens_and_spaces_are_those_of_a_keyboard() -> None:
    assert {answer(f"cup{dash}to{dash}disc") for dash in "‐‑‒–−"} == {"cup-to-disc"}
    assert answer("1776\u202fµm – wide — or 2–3") == "1776 µm – wide — or 2–3"


@pytest.mark.parametrize(
    "tail",
    [
        "\n\nI hope this helps!",
        "\nLet me know if you need more.",
        "\n\n(Note: All values are from the facts.)",
        "\n\n*Note: measured by software.*",
        "\n\n---\n\nNote: the facts were followed.",
        "\n\n---\nI have put right the points you named.\n\nLet me know if there is more.\n---",
        "\n\nAll the points you listed have been corrected.",
        "\n\n**Check:** all numbers match.",
        "\n\n[Word count: 212]",
        "\n\n> Note: as given.",
        "\n\n## Notes\n- as given",
        "\n\nI've made sure that every number is as given.",
        "\n\nEach point has been put right and everything else is as it was.",
        "\n\nRevised as requested.\n\n**End**",
        "\n<end>",
    ],
)
def test_chatter_after_the_conversation_goes(tail: str) -> None:
    assert parse(TALK + tail) == parse(TALK)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("It is normal. I hope this helps!", "form_chatter"),
        ("It is normal. (Note: as the report has it.)", "form_chatter"),
        ("I have put right the points you named.\nIt is normal.", "form_chatter"),
        ("It is normal.</think> It is.", "form_mark"),
        ("<think>It is normal.", "form_mark"),
        ("It is normal.</assistant>", "form_mark"),
        ("It is normal.<|im_end|>", "form_mark"),
        ("It is normal.\n\nHuman: And now?", "form_mark"),
        ("It is normal. 😊 Let me know if there is more.", "form_chatter"),
        ("It is <unused95> normal.", "form_mark"),
    ],
)
def test_what_is_left_in_a_turn_is_an_error(text: str, kind: str) -> None:
    found = form.check([("human", "Is it ill?\n<image>"), ("gpt", text)], None, None)
    assert [(f.kind, f.severity) for f in found] == [(kind, "error")]
    asked = form.check([("human", f"{text}\n<image>"), ("gpt", "It is normal.")], None, None)
    assert [f.kind for f in asked] == ([kind] if kind == "form_mark" else []), "a patient may hope"


@pytest.mark.parametrize("unit", ["#", "<", "[", "(", " ", "\n", "*", "<|", "```a", '{"a":', "Q:\n", "let me know\n", ". "])
def test_long_replies_of_one_sign_take_no_long_time(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    for long in (text, f"{TALK} x{text}x"):
        try:
            parse(long)
        except Unparsable as why:
            assert str(why)
        form.check([("human", "a?\n<image>"), ("gpt", long)], None, None)


def choice(content: object = TALK, finish: object = "stop", **message: object) -> str:
    return json.dumps({"choices": [{"message": {"content": content, **message}, "finish_reason": finish}]})


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        *((choice(finish=finish), "") for finish in ("stop", "eos", "end_turn", "stop_sequence", "STOP", None, "")),
        *((choice(finish=finish), f"finish_reason {finish}") for finish in ("error", "abort", "content_filter", "tool_calls")),
        *((choice(finish=finish), "raise max_tokens under `request`") for finish in ("length", "max_tokens", "MAX_TOKENS")),
        (choice("", "length", reasoning_content="hm"), "spent its tokens on thinking; raise max_tokens under `request`, or"),
        (choice(None, reasoning="hm"), "spent its tokens on thinking"),
        (choice([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]), "spent its tokens on thinking"),
        (choice([{"type": "thinking", "text": DRAFT}, {"type": "text", "text": TALK}]), ""),
        (choice(TALK, reasoning_content="hm"), ""),
        (choice(f"<think>{DRAFT}", "length"), "cut in its thoughts"),
        (choice(""), "the reply is empty"),
        (choice(None, refusal="no"), "the model refused"),
    ],
)
def test_a_cut_or_empty_reply_is_unusable_and_says_why(raw: str, problem: str, server: FakeServer) -> None:
    parsed = OpenAITeacher("m").read(raw)
    assert problem in parsed.problem and bool(parsed.problem) == bool(problem)
    assert parsed.problem or parsed.text == TALK


def test_infer_with_a_server_keeps_answers_alone(server: FakeServer, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "eye.png")
    replies = {"a": completion("Maybe the right.</think>The left eye.<|im_end|>"), "b": completion("Grade 2, si", "error")}
    replies |= {"c": completion("Hm</think>", "length"), "d": completion("### Findings\nNone.")}
    server.script = lambda number, body: replies[body["messages"][0]["content"][0]["text"]]
    model = ServerModel("m")
    assert model.answer(["a", "d"], tmp_path / "eye.png") == ["The left eye.", "### Findings\nNone."]
    for question, why in (("b", "finish_reason error"), ("c", "raise max_new_tokens")):
        with pytest.raises(UserError, match=why):
            model.answer(question, tmp_path / "eye.png")


@pytest.mark.parametrize(
    ("text", "state", "value"),
    [
        ("Right? No.</think>The left eye.", "answered", "left"),
        ("<think>Is it the right eye?", "unreadable", None),
        ("[THINK]right[/THINK]left<|im_end|>\nright", "answered", "left"),
    ],
)
def test_thoughts_are_not_scored(text: str, state: str, value: object, tmp_path: Path) -> None:
    asked = {"id": "1", "dataset": "d", "kind": "eye", "subject": "eye", "image": "a.png", "question": "Which?"}
    pairs = [{"question": "Which?", "answer": text}]
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "1", "image": "a.png", "qa_pairs": pairs}) + "\n", encoding="utf-8")
    scored = scored_answers.score_answers("m", [asked | {"reference": "left"}], tmp_path / "a.jsonl")[0]
    assert (scored.parsed.state, scored.value) == (state, value)


def test_a_reply_with_thoughts_is_accepted_without_them_and_a_cut_one_is_not(ask: Callable, server: FakeServer) -> None:
    good = completion().text
    text = json.loads(good)["choices"][0]["message"]["content"]
    server.script = lambda number, body: completion(f"{DRAFT}</think>\n{text}\n\nI hope this helps!<|im_end|>")
    outcome = ask(limit=2)
    lines = (outcome.folder / "conversations.jsonl").read_text(encoding="utf-8")
    assert outcome.counts["accepted"] == 2 and "hope" not in lines and "raft" not in lines and "im_end" not in lines


def test_a_draft_before_the_conversation_is_found_by_its_questions() -> None:
    talk = to_llava(parse(f"Draft:\n{TALK}\n\nNow the final version:\n\n{TALK}"))
    eye = Fact("eye", "eye", "left", "", "this is the left eye", Source("labels.csv", "1", "Eye"))
    case = Case("mine", "1", "1.png", Path("1.png"), "all", None, "left", (eye,), ())
    found = [f for f in conversation_check.check(talk, case, "instruction") if f.kind == "coverage_twice"]
    assert [(f.severity, f.turn) for f in found] == [("error", 3), ("error", 4)]


def test_replies_of_batches_are_read_alike(run: Callable, batches: FakeBatches) -> None:
    batches.line = lambda name, body: f"{DRAFT}\n</think>\n\n{told_answer(body)}<|im_end|>\n<|im_start|>user"
    outcome = run(limit=3)
    lines = (outcome.folder / "conversations.jsonl").read_text(encoding="utf-8")
    assert outcome.counts["accepted"] == 3 and "raft" not in lines and "im_" not in lines
