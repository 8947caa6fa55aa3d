"""Replies in every form that models write become turns with whole answers, or are refused with the reason."""

import json
import re
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from retinal_lib.conversation import Turn, problems, to_llava
from retinal_lib.teacher.reply_parser import Unparsable, parse
from retinal_lib.text import reply_text

TWO = [Turn("Is it ill?", "I see drusen."), Turn("Where?", "In the macula.")]


def labelled(asker: str, answerer: str, between: str = "\n", before: str = "", after: str = "") -> Callable:
    def write(turns: list[Turn]) -> str:
        parts = [part for t in turns for part in (f"{asker}{t.question}", f"{answerer}{t.answer}")]
        return before + between.join(parts) + after

    return write


def numbered(asker: str, answerer: str, heading: str = "") -> Callable:
    def write(turns: list[Turn]) -> str:
        blocks = enumerate(turns, start=1)
        return "\n".join(
            heading.format(n) + asker.format(n) + t.question + "\n" + answerer.format(n) + t.answer for n, t in blocks
        )

    return write


def as_json(content: Callable, before: str = "", after: str = "", indent: int | None = None) -> Callable:
    return lambda turns: before + json.dumps(content(turns), ensure_ascii=False, indent=indent) + after


def llava(turns: list[Turn]) -> list[dict]:
    return [part for t in turns for part in ({"from": "human", "value": t.question}, {"from": "gpt", "value": t.answer})]


def chat(turns: list[Turn]) -> list[dict]:
    return [
        part for t in turns for part in ({"role": "user", "content": t.question}, {"role": "assistant", "content": t.answer})
    ]


STYLES = {
    "as asked for": labelled("User: ", "Assistant: "),
    "blank lines": labelled("User: ", "Assistant: ", "\n\n"),
    "CRLF": labelled("User: ", "Assistant: ", "\r\n"),
    "bold with the colon": labelled("**User:** ", "**Assistant:** "),
    "bold without the colon": labelled("**User**: ", "**Assistant**: "),
    "small letters": labelled("user: ", "assistant: "),
    "capitals": labelled("USER: ", "ASSISTANT: "),
    "no space": labelled("User:", "Assistant:"),
    "full-width colon": labelled("User：", "Assistant："),
    "human and doctor": labelled("Human: ", "Doctor: "),
    "patient and ophthalmologist": labelled("Patient: ", "Ophthalmologist: "),
    "layperson": labelled("Layperson: ", "Ophthalmologist: "),
    "person": labelled("Person: ", "AI: "),
    "Q and A": labelled("Q: ", "A: "),
    "bold Q and A": labelled("**Q:** ", "**A:** "),
    "numbered Q and A": numbered("Q{}: ", "A{}: "),
    "question and answer": labelled("Question: ", "Answer: "),
    "numbered question and answer": numbered("Question {}: ", "Answer {}: "),
    "numbered roles": numbered("User {}: ", "Assistant {}: "),
    "numbered turns": numbered("{}. User: ", "Assistant: "),
    "numbered bold turns": numbered("{}. **User:** ", "   **Assistant:** "),
    "bracketed remarks": labelled("User (layperson): ", "Assistant (ophthalmologist): "),
    "turn headings": numbered("User: ", "Assistant: ", "Turn {}:\n"),
    "markdown turn headings": numbered("**User:** ", "**Assistant:** ", "### Turn {}\n\n"),
    "turns on the line": numbered("Turn {} - User: ", "Turn {} - Assistant: "),
    "rules between": numbered("User: ", "Assistant: ", "---\n"),
    "a bullet each": labelled("- User: ", "- Assistant: "),
    "a block quote": labelled("> **User:** ", "> **Assistant:** "),
    "labels on lines of their own": labelled("User:\n", "Assistant:\n", "\n\n"),
    "headings as labels": labelled("### User\n", "### Assistant\n", "\n\n"),
    "bold lines as labels": labelled("**User**\n", "**Assistant**\n", "\n\n"),
    "a word before": labelled("User: ", "Assistant: ", before="Here is the conversation:\n\n"),
    "a heading before": labelled("User: ", "Assistant: ", before="# Conversation\n\n---\n"),
    "a rule after": labelled("User: ", "Assistant: ", after="\n\n---\n"),
    "an end mark": labelled("User: ", "Assistant: ", after="\n\n[End of conversation]"),
    "a farewell below a rule": labelled("User: ", "Assistant: ", after="\n\n---\n\nLet me know if you need more!"),
    "thoughts before": labelled("User: ", "Assistant: ", before="<think>User: hm\nAssistant: well</think>\n"),
    "a code block": labelled("User: ", "Assistant: ", before="```\n", after="\n```"),
    "JSON as exported": as_json(llava),
    "JSON as exported, whole": as_json(lambda turns: {"id": "1", "conversations": llava(turns)}, indent=2),
    "JSON nested": as_json(lambda turns: {"conversation": {"turns": chat(turns)}}),
    "JSON chat": as_json(chat),
    "JSON chat with a system part": as_json(lambda turns: [{"role": "system", "content": "You are"}, *chat(turns)]),
    "JSON in a fence": as_json(llava, "Here it is:\n\n```json\n", "\n```\nHope it helps.", indent=1),
    "JSON after a word": as_json(chat, "Sure!\n"),
    "JSON before a word": as_json(chat, after="\n\nLet me know!"),
    "JSON questions and answers": as_json(lambda turns: [{"question": t.question, "answer": t.answer} for t in turns]),
    "JSON answers first": as_json(lambda turns: [{"answer": t.answer, "question": t.question} for t in turns]),
    "JSON q and a": as_json(lambda turns: {"qa": [{"q": t.question, "a": t.answer} for t in turns]}),
    "JSON roles as keys": as_json(lambda turns: [{"User": t.question, "Assistant": t.answer} for t in turns]),
    "JSON speakers": as_json(lambda turns: [part for t in turns for part in (
        {"speaker": "Patient", "text": t.question}, {"speaker": "Ophthalmologist", "text": t.answer},
    )]),
    "JSON numbered keys": as_json(
        lambda turns: {f"{key}{n}": text for n, t in enumerate(turns) for key, text in zip("QA", t, strict=True)}
    ),
    "JSON lines": lambda turns: "\n".join(json.dumps(part) for part in llava(turns)),
}  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
def test_turns_are_found_however_they_are_labelled(style: str) -> None:
    assert parse(STYLES[style](TWO)) == TWO
    assert parse(STYLES[style](TWO[:1])) == TWO[:1]


LONG = """There are several findings:

- **Disc**: 1780 µm
  - Cup: 700 µm
  1. vertical
  2. horizontal

* Vessels (see [0.1, 0.2, 0.3, 0.4])

> as measured

Note: zone B is the nearer one.
Grade: 2 (0 to 4).
A second paragraph, with "quotes", a colon: here, and 50 %."""


@pytest.mark.parametrize("style", STYLES)
def test_answers_of_several_lines_and_lists_are_kept_whole(style: str) -> None:
    turns = [Turn("What do you see?", LONG), Turn("Anything else?", "No.\n\n- nothing")]
    assert parse(STYLES[style](turns)) == turns


# letters that labels and JSON are made of, and some that are not on every keyboard
ODD = st.text(st.sampled_from("abAQU XY019:*_-#>.,;()[]{}\"'`/\\µü漢🙂%$<|&=\n"), max_size=60)


def tame(text: str) -> bool:
    """Whether a text is as a conversation keeps it, and holds no line that is a label, a rule or a number alone."""
    value = text.strip()
    lines = value.split("\n")
    return (
        reply_text.plain(value) == value  # full-width letters and the like become usual ones
        and bool(re.match(r"[a-zA-Zµü漢🙂]", value))
        and value == "\n".join(line.rstrip() for line in lines)
        and "\n\n\n" not in value
        and not any(re.match(r"[\s#>*_\[\"'(•+\-\d.):`{]*([qa]\b|[qa]\d|$)", line, re.I) for line in lines if line)
        and "```" not in value
        and value.count("**") % 2 == 0
    )


@given(st.lists(st.tuples(ODD, ODD), min_size=1, max_size=4), st.sampled_from(sorted(STYLES)))
def test_any_turns_come_back_as_they_were_written(written: list[tuple[str, str]], style: str) -> None:
    turns = [Turn("w" + question.replace("\n", " ").strip() + "?", "W" + answer.strip()) for question, answer in written]
    assume(all(tame(text) for turn in turns for text in turn))
    assert parse(STYLES[style](turns)) == turns


# --- words that look like labels ---


@pytest.mark.parametrize(
    "answer",
    [
        "The record says Patient: 58 years, and Answer: yes.",
        "The record says:\nPatient: 58 years old\nand no more.",
        "In short:\nAnswer: nothing was found.",
        "One may ask:\nQuestion: is it bad?\nIt is not.",
        "By vessel:\nA: arteries\nB: veins",
        "- Patient: 58 years\n- Sex: male",
        "Quote:\n**Assistant** is a word.",
        "Expert: a word at the start",
    ],
)
def test_a_word_like_a_label_inside_an_answer_leaves_it_whole(answer: str) -> None:
    turns = [Turn("a?", answer), Turn("b?", "No.")]
    assert parse(labelled("User: ", "Assistant: ")(turns)) == turns
    assert parse(labelled("**User:** ", "**Assistant:** ", "\n\n")(turns)) == turns


@pytest.mark.parametrize(
    "reply",
    [
        "User: a?\nAssistant: The record:\n- Patient: 58 years\n- Doctor: seen\nUser: c?\nAssistant: d.",
        "User: a?\nAssistant: b.\nPatient: c?\nDoctor: d.",
        "User: a?\nAssistant: b.\n**User:** c?\n**Assistant:** d.",
        "Patient: 45 years old\nUser: a?\nAssistant: b.",
        "User: a?\nQuestion: b?\nAssistant: c.",
    ],
)
def test_where_it_cannot_be_told_who_speaks_the_reply_is_refused(reply: str) -> None:
    with pytest.raises(Unparsable, match="not clear who says what"):
        parse(reply)


@given(
    st.sampled_from(["User", "Patient", "Q", "Question"]),
    st.sampled_from(["Assistant", "Doctor", "A", "Answer"]),
    st.data(),
)
def test_no_line_moves_from_one_speaker_to_the_other(asker: str, answerer: str, data: st.DataObject) -> None:
    # answers may hold any line with a label: what comes back is what was said, or nothing
    lines = st.sampled_from(["Patient: 58", "Doctor: seen", "A: arteries", "Q: why", "Answer: yes", "- User: me", "plain"])
    answers = data.draw(
        st.lists(st.lists(lines, max_size=3).map(lambda some: "\n".join(["Well.", *some])), min_size=1, max_size=3)
    )
    others = {f"- {asker}: ", f"{asker}: ", f"{answerer}: "}
    assume(not any(line.startswith(tuple(others)) for answer in answers for line in answer.split("\n")))
    turns = [Turn(f"what {n}?", answer) for n, answer in enumerate(answers)]
    try:
        found = parse(labelled(f"{asker}: ", f"{answerer}: ")(turns))
    except Unparsable:
        return
    assert found == turns


# --- refused ---


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", "empty"),
        ("  \n\t\n", "empty"),
        ("I cannot help with that.", "no roles found: expected lines that begin with 'User:' and 'Assistant:'"),
        ("| User | Assistant |\n|---|---|\n| a? | b. |", "no roles found"),
        ("User: a?", "turn 1: the question has no answer"),
        ("User: a?\nAssistant: b.\nUser: c?", "turn 2: the question has no answer"),
        ("User: a?\nUser: b?\nAssistant: c.", "turn 1: expected an answer, found another question"),
        ("User: a?\nAssistant: b.\nAssistant: c.", "turn 2: expected a question, found another answer"),
        ("Assistant: b.\nUser: a?\nAssistant: c.", "comes before the first question"),
        ("User: a?\nAssistant:\nUser: c?\nAssistant: d.", "turn 1: the answer is empty"),
        ("User: <image>\nAssistant: b.", "turn 1: the question is empty"),
        ('[{"from": "human", "value": "a?"}, {"from": "gpt", "value": "b.', "not valid JSON"),
        ('[{"role": "user", "content": "a?"}, {"role": "nurse", "content": "hm"}]', "unknown role 'nurse'"),
        ('[{"role": "user", "content": "a?"}, {"role": "assistant", "content": null}]', "is NoneType: expected a string"),
        (
            '[{"role": "user", "content": "a?"}, {"role": "assistant", "content": [{"text": "b."}]}]',
            "is list: expected a string",
        ),
        ("[1, 2]", "no roles found"),
        ("{}", "no roles found"),
    ],
)
def test_anything_else_is_refused_with_the_reason(reply: str, why: str) -> None:
    with pytest.raises(Unparsable, match=re.escape(why)):
        parse(reply)


@given(st.text(max_size=200))
def test_no_text_breaks_the_parser(reply: str) -> None:
    try:
        turns = parse(reply)
    except Unparsable as why:
        assert str(why)
    else:
        assert turns and all(turn.question and turn.answer for turn in turns)


def test_answers_with_boxes_in_brackets_are_no_json() -> None:
    turns = [Turn("Where?", "At\n[0.1, 0.2, 0.3, 0.4]\n[0.5, 0.6, 0.7, 0.8]\nas marked.")]
    assert parse("User: Where?\nAssistant: " + turns[0].answer) == turns
    assert parse("[A conversation]\n\nUser: Where?\nAssistant: " + turns[0].answer) == turns


# --- the exported form ---


def test_the_image_stands_once_at_the_end_of_the_first_question() -> None:
    exported = to_llava(parse("User: <image>\nWhat is it?\nAssistant: b <image>.\nUser: c?\nAssistant: d."))
    assert [part["value"] for part in exported] == ["What is it?\n<image>", "b.", "c?", "d."]
    assert [part["from"] for part in exported] == ["human", "gpt"] * 2 and problems(exported) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda c: c[:-1], "the last question has no answer"),
        (lambda c: c[::-1], "part 1 is from 'gpt'; expected 'human'"),
        (lambda c: [c[0] | {"value": "<image>"}, *c[1:]], "part 1 is empty"),
        (lambda c: [c[0] | {"value": "a?"}, *c[1:]], "<image> occurs 0 times; expected once"),
        (lambda c: [c[0] | {"value": "<image>\na?"}, *c[1:]], "<image> must be the last line of the first question"),
        (lambda c: [*c[:2], c[2] | {"value": "x\n<image>"}, c[3]], "<image> occurs 2 times; expected once"),
        (lambda c: [{"value": "a?"}], "part 1 must have 'from' and a text 'value'"),
        (lambda c: [], "conversations must be a list of turns, and not empty"),
    ],
)
def test_what_is_wrong_with_an_exported_conversation_is_named(change: Callable, what: str) -> None:
    assert what in problems(change(to_llava(TWO)))
