"""Makes the texts that a teacher gets: the system prompt of a run, and what is asked about one image."""

import random
from functools import cache
from pathlib import Path
from string import Template

from retinal_lib.conversation import TURNS
from retinal_lib.dataset.page import Page
from retinal_lib.errors import UserError
from retinal_lib.facts import ASPECTS, LIMITED
from retinal_lib.parsing import packaged_yaml
from retinal_lib.slots.sheet import SPEC, FactSheet, Line

PROMPTS = Path(__file__).parent / "prompts"
MOST_TURNS = TURNS["instruction"][1]
_LINES = _VALUES = 3  # of a turn, at most


@cache
def _parts() -> dict:
    return packaged_yaml(PROMPTS / "parts.yaml")


@cache
def _styles() -> dict:
    return packaged_yaml(PROMPTS / "style.yaml")


@cache
def text(name: str) -> str:
    """Returns a text of the prompts folder, such as repair."""
    return (PROMPTS / f"{name}.txt").read_text(encoding="utf-8").strip()


def track_aspects(track: str) -> tuple[str, ...]:
    """Returns the aspects that a track uses: the alignment track tells no vessel measurements."""
    return tuple(aspect for aspect in ASPECTS if track != "alignment" or aspect != "vascular")


def render(page: Page, track: str, style: str | None, form: str = "text") -> str:
    """Returns the system prompt for the images of a page; `form` is that of the reply, text or json. UserError: the template
    has an unknown slot."""
    parts = _parts()
    written = parts["form"][form]
    if form == "text" and track == "instruction":
        written += "\n" + written.replace("(", "(next ")
    return _fill(
        text(track),
        slots=parts["slots"],
        answers=_fill(
            parts["answers"],
            values=parts["values"][style or track],
            rules="".join(parts["rules"][rule] for rule in _rules(page, style)),
        ),
        form=written,
        task=parts["task"].get(style, ""),
        questions=parts["questions"].get(style, ""),
    )


def _rules(page: Page, style: str | None) -> list[str]:
    """The names of the rules for answers that a page's facts need: for grades, and lesions."""
    applies = {"grade": "grade", "lesion": "boxes"}
    return [rule for rule, kind in applies.items() if page.kind(kind) and (rule, style) != ("lesion", "consult")]


def _fill(template: str, **slots: str) -> str:
    try:
        return Template(template).substitute(slots)
    except KeyError as missing:
        raise UserError(f"the prompt has an unknown slot ${missing.args[0]}; known: {', '.join(slots)}") from missing


# --- what is asked about one image ----------------------------------------------------------------------------------------


def explanations(sheet: FactSheet) -> str:
    """Returns the explanations of a sheet, below their title."""
    return "\n".join([f"{_parts()['explained']}:", *(f'{{{line.id}}} = "{line.text}"' for line in sheet.explained)])


def task(sheet: FactSheet, track: str, style: str | None, seed: int) -> str:
    """Returns what follows an image's facts: which lines to talk about, in which turns, and a style drawn by seed."""
    rng = random.Random(f"style:{seed}:{sheet.case.id}")
    many = track == "instruction"
    groups = turns(sheet, rng) if many else [[line for line in sheet.lines if line.id[0] != "p"]]
    named = "; ".join(", ".join(line.id for line in group) for group in groups)
    parts = _parts()
    questions = f"{len(groups)} questions with their answers" if len(groups) > 1 else "1 question with its answer"
    said = [_fill(parts["turns" if many else "one"], questions=questions, groups=named)]
    if background := [line.id for line in sheet.lines if line.id[0] == "p"]:
        said.append(_fill(parts["background"], ids=", ".join(background)))
    for line in sheet.lines:
        if line.text.startswith(SPEC["no diagnosis"]):
            noted = " beyond notes" if SPEC["beyond notes"] in line.text else ""
            said.append(_fill(parts[f"unknown{noted}" if many else f"unknown{noted} in one"], id=line.id))
            said += [parts["but lesions"]] if line.text.endswith(SPEC["but lesions"]) else []
        if line.facts and line.facts[0].name == LIMITED:
            said.append(_fill(parts["limited"], id=line.id))
    return f"{' '.join(said)}\n{_card(track, style, sheet.spelling, rng)}"


def _card(track: str, style: str | None, spelling: str, rng: random.Random) -> str:
    """The style card: how the conversation is written."""
    styles = _styles()
    drawn = {name: rng.choice(choices) for name, choices in styles.items() if name != "length"}
    length = rng.choice(styles["length"][style or track])
    if track == "instruction":
        how = f"Answers: {length}, {drawn['form']}, {drawn['tone']}; the person asks {drawn['asks']}."
    else:
        how = f"The answer: {length}, {drawn['form of one']}, {drawn['tone']}."
    return f"{how} Write for {drawn['level']}, in {spelling} spelling."


def turns(sheet: FactSheet, rng: random.Random) -> list[list[Line]]:
    """Returns the lines of each turn, at most `MOST_TURNS`: picture and quality together, diseases, a few lesions, notes, and
    measurements that can be compared. Which turn comes first is drawn; the others keep their order. Notes stand with the line
    that no diagnosis is known beyond them."""
    of = {letters: [line for line in sheet.lines if line.id[0] in letters] for letters in ("iq", "d", "l", "n", "v")}
    if of["n"] and of["d"] and of["d"][0].text.startswith(SPEC["no diagnosis"]):
        of["d"], of["n"] = [*of["d"], *of["n"]], []
    told = [*_parted(of["iq"]), *_parted(of["d"]), *_chunks(of["l"]), *_chunks(of["n"])][:MOST_TURNS]
    measured = _measured(of["v"])
    room = min(len(measured), max(1, MOST_TURNS - len(told)))
    chosen = told + [measured[i] for i in sorted(rng.sample(range(len(measured)), room))]
    first = rng.randrange(len(chosen))
    return [chosen[first], *chosen[:first], *chosen[first + 1 :]]


def _parted(lines: list[Line]) -> list[list[Line]]:
    """Lines in turns of a few lines and as few values as an answer shows."""
    parted: list[list[Line]] = []
    for line in lines:
        if parted and len(parted[-1]) <= _LINES and sum(len(each.slots) for each in (*parted[-1], line)) <= _VALUES:
            parted[-1].append(line)
        else:
            parted.append([line])
    return parted


def _measured(lines: list[Line]) -> list[list[Line]]:
    """Measurements by the groups in which they are drawn, so that those of a turn can be compared."""
    group_of = {name: i for i, group in enumerate(SPEC["measurements"]["groups"]) for name in group}
    grouped: dict[int, list[Line]] = {}
    for line in lines:
        grouped.setdefault(group_of.get(line.facts[0].name, -1), []).append(line)
    return [chunk for group in grouped.values() for chunk in _chunks(group)]


def _chunks(lines: list[Line]) -> list[list[Line]]:
    """Lines in turns of about equal size, of at most `_LINES`."""
    number = -(-len(lines) // _LINES)
    return [lines[len(lines) * i // number : len(lines) * (i + 1) // number] for i in range(number)]
