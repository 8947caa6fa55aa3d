"""The beginning of a dataset page, from a look at a folder and its tables: what is plain is written, what is not is asked."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import yaml

from retinal_lib import paths
from retinal_lib.dataset import page, tables
from retinal_lib.dataset.cells import file_names
from retinal_lib.dataset.cells.columns import TEXTS, Reading, without_names
from retinal_lib.dataset.cells.page_content import page_content
from retinal_lib.dataset.cells.values import plain
from retinal_lib.dataset.fact_kinds import scales
from retinal_lib.dataset.image_files import Folder
from retinal_lib.display import count
from retinal_lib.errors import UserError
from retinal_lib.explore.folder_look import NOT_USED, Keyed, Look, look_at
from retinal_lib.files import atomic_write

MOST_QUESTIONS = 3
_MOST_CODES, _MOST_FOLDERS = 12, 60  # of a column or place that is asked about
_MAY_BE_CODED = "where the names of pictures identify participants"
_CODED = "the names of pictures hold the patient's code: where nobody may read it, take the # away"
_SPLITS = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation"}
_SPLITS |= {"test": "test", "testing": "test", "evaluation": "test"}
_ASKED = {  # what is worth a question, the most important first -> words in a column's name
    "eye": "eye laterality side lateralidade auge olho",
    "diagnosis": "column diagnosis diagnose diagnostico grade level severity stage class label dr icdr sdrg glaucoma disease",
    "sex": "sex gender sexo geschlecht",
    "quality": "quality qualitat qualidade",
}


def write(folder: Path, out: Path | None = None) -> str:
    """Writes the first page of a folder and returns a summary. UserError: no pictures, no folder, or the page is there."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the one that holds pictures and tables")
    look = look_at(folder)
    file = out or folder / f"{page.own_name(folder.name)}.yaml"
    if file.exists():
        raise UserError(f"{file} is there already; pass --out and another name")
    text, questions = page_text(look, page.own_name(file))
    with atomic_write(file) as stream:
        stream.write(text)
    page.load(file)  # UserError: it could not be read
    asked = f"{count(questions, 'answer')} needed, see '# answer' there" if questions else "no answer needed"
    lost = any(NOT_USED in line or tables.SHEET in line for line in look.others)
    unused = "; a table or sheet is not used, see '# Left out' there" if lost else ""
    return f"written to {paths.display_path(file)}: {asked}{unused}; read it through before you run it"


def _word_of(path: Path, root: Path, words: dict[str, str]) -> str | None:
    """What a word in a file's path, the last first, stands for."""
    parts = [word for part in path.relative_to(root).parts for word in plain(Path(part).stem).split()]
    return next((words[word] for word in reversed(parts) if word in words), None)


def _splits(look: Look) -> dict[str, dict[str, object]]:
    """The splits of the page: by the names of tables or folders, else one; or one with a table for each eye."""
    if not look.tables:
        return {"all": {"images": [_folders(look, look.pictures)]}}
    files = [each.table.path for each in look.tables]
    eyes = [_word_of(file, look.root, {k: v for k, v in file_names.SIDES.items() if len(k) > 1}) for file in files]
    if len(files) == 2 and set(eyes) == {"left", "right"}:
        places = {eye: [_place(file, look.root)] for eye, file in sorted(zip(eyes, files, strict=True))}
        return {"all": {"images": [_folders(look, look.pictures)], "tables": places}}
    splits: dict[str, list[Keyed]] = {}
    for each in look.tables:
        splits.setdefault(_word_of(each.table.path, look.root, _SPLITS) or "all", []).append(each)
    made = {}
    for name, some in splits.items():
        stems = frozenset().union(*(each.stems for each in some))
        places = [_place(each.table.path, look.root) for each in some]
        made[name] = {"images": [_folders(look, stems)], "tables": [places[0] if len(places) == 1 else places]}
    return made


def _place(file: Path, root: Path) -> str:
    parts = file.relative_to(root).parts[-2:]
    return "/".join(re.sub(r"([\[*?])", r"[\1]", part) for part in parts)


def _folders(look: Look, stems: Iterable[str]) -> str | list[str]:
    """The folders of pictures as a page names them; folders within one folder as one."""
    found = {_named(folder, look.root) for stem in stems for folder in look.pictures[stem]}
    every = {_named(folder, look.root) for folders in look.pictures.values() for folder in folders}
    names = {"/".join(parts[-2:]) for parts in found}
    above = {parts[:-1] for parts in found}
    if len(found) > 1 and len(above) == 1 and found == {parts for parts in every if parts[:-1] in above}:
        return "/".join([*above.pop()[-2:], "*"])
    return next(iter(names)) if len(names) == 1 else sorted(names)


def _named(folder: Folder, root: Path) -> tuple[str, ...]:
    """The names that lead to a folder, as it is matched: a name that an unzip tool doubled once."""
    parts = [unquote(part).strip() for part in folder.path.relative_to(root).parts] or [root.name]
    return tuple(part for n, part in enumerate(parts) if not n or part.casefold() != parts[n - 1].casefold())


# --- the page -----------------------------------------------------------------------------------------------------------


class Question(NamedTuple):
    """A question: what is asked, and the lines of the page that an answer completes, of which entries of facts come first."""

    topic: str
    says: str
    lines: list[str]

    @property
    def of_facts(self) -> bool:
        """Whether its lines stand at the end of the facts."""
        return self.lines[0].startswith("- ")

    @property
    def commented(self) -> list[str]:
        """The question and its lines as the page has them."""
        return [f"# answer: {self.says}", *(f"#{line}" for line in self.lines)]


def page_text(look: Look, name: str) -> tuple[str, int]:
    """Returns the text of a page for what was found, and how many answers it needs."""
    understood = _readings(look)
    asked, left = _questions(look, [reading for reading in understood if not reading.is_read])
    content = page_content([reading for reading in understood if reading.role not in ("image", "split")])
    facts, names = content.pop("facts"), look.names
    read = [reading for reading in understood if reading.is_read]
    says = {reading.column: f"{reading.role}: {reading.says}" for reading in read}
    lines = [
        f"# A first page, from a look at the files of {look.root.name}. What is plain is written; nothing is guessed.",
        f"# Answers needed: {len(asked)}. Below each '# answer', write what belongs in place of each ? and take the # away.",
        f"name: {name}",
        f"title: {_flow(look.root.name)}",
        "licence: not stated",
        "may_send: 'no'  # to a remote server: yes, no, ask (with leave), local (only where nothing is kept)",
        f"#private_names: true  # {_CODED if '(?P<patient>' in names.pattern else _MAY_BE_CODED}",
        "#modality: colour fundus photograph  # what kind of picture all of them are, if you know",
    ]
    topics = {question.topic for question in asked}
    if names.pattern or "folders" in topics:
        lines.append(f"image: {_flow(_names_pattern(look, asked))}{f'  # {names.says}' if names.pattern else ''}")
    if names.pattern:
        content["eyes"] = {**names.eyes, **content.get("eyes", {})}
    masks = {"masks": ["/".join(place.split("/")[-2:]) for place in look.masks]} if look.masks else {}
    splits = {name: of | masks for name, of in _with_split_column(_splits(look), understood).items()}
    lines += ["splits:", *(f"  {split}: {_flow(places)}" for split, places in splits.items())]
    if look.tables:
        first, rows = look.tables[0], sum(len(each.table) for each in look.tables)
        stems = frozenset().union(*(each.stems for each in look.tables))
        if first.header != 1:
            lines.append(f"header: {_flow(first.header)}  # {'its names' if isinstance(first.header, list) else 'its rows'}")
        named = f"key: {_flow(first.key)}  # {rows} rows name {len(stems)} of {len(look.pictures)} pictures"
        lines += [named] if "key" not in topics else []
    lines += [f"{key}: {_flow(value)}{_remark(says, value)}" for key, value in content.items()]
    lines += [line for question in asked if not question.of_facts for line in question.commented]
    lines.append("facts:")  # its entries begin as far left as their #: there is one way to take it away
    for fact in facts:
        names_in = _columns_in(fact)
        lines += [f"# {' and '.join(r.columns)}: {says[r.column]}" for r in read if r.column in names_in or r.place in names_in]
        lines.append(f"- {_flow(fact)}")
    lines += [line for reading in understood if reading.number and not reading.is_read for line in _of_number(reading)]
    lines.append("- automorph")
    lines += [line for question in asked if question.of_facts for line in question.commented]
    lines += ["", "# Left out:", *(f"#   {line}" for line in (*left, *_others(look, topics)))]
    return "\n".join(lines) + "\n", len(asked)


def _of_number(reading: Reading) -> list[str]:
    """The lines for a column of numbers of which something is not stated: to be completed, or left as they are."""
    told = "".join(f", {name}: {_open(value, name)}" for name, value in reading.number.items())
    what = reading.says.partition("; ")[0]
    how = f"# {' and '.join(reading.columns)}: {what}; to tell it, write what belongs in place of each ? and take the # away"
    return [how, f"#- number: {{column: {_flow(reading.place)}{told}}}"]


def _open(value: object, name: str) -> str:
    return _flow(value) if value is not None else "[?, ?]" if name == "range" else "?"


def _readings(look: Look) -> list[Reading]:
    """What the columns of the tables hold; the key is none of them."""
    if not look.tables:
        return []
    first = look.tables[0]
    merged = page.readings_of((each.table for each in look.tables), rows_of_both_eyes=first.by_parts is not None)
    merged = list(map(without_names, merged))
    parts = first.by_parts.key if first.by_parts else {first.key: ""}
    return [r for r in merged if r.role in ("patient", "private") or not (r.column in parts or r.role == "image")]


def _with_split_column(splits: dict[str, dict], understood: list[Reading]) -> dict[str, dict]:
    """The splits that a column names, where neither tables nor folders do."""
    column = next((reading for reading in understood if reading.role == "split"), None)
    if column is None or list(splits) != ["all"]:
        return splits
    cells = {name: [cell for cell, of in column.book.items() if of == name] for name in dict.fromkeys(column.book.values())}
    return {name: {**splits["all"], "where": {column.column: some}} for name, some in cells.items()}


def _questions(look: Look, unread: list[Reading]) -> tuple[list[Question], list[str]]:
    """The most important questions, and a line for each other column that is not read."""
    asked = [question for question in [_of_key(look)] if question]
    for topic, words in _ASKED.items():
        for reading in list(unread):
            if len(asked) == MOST_QUESTIONS or (topic == "eye" and look.names.eyes) or reading not in unread or reading.role:
                continue
            called = set(plain(reading.column).split())
            codes = _codes(look, reading.columns)
            if called.isdisjoint(words.split()) or (topic == "diagnosis" and "patient" in called) or len(codes) > _MOST_CODES:
                continue
            asked.append(_question(topic, reading, codes))
            unread = [each for each in unread if each != reading]
    more = [None if look.tables else _of_folders(look), _of_masks(look)]  # masks come last, since they have two lines
    asked += [question for question in more if question][: MOST_QUESTIONS - len(asked)]
    return asked, [f"{' and '.join(reading.columns)}: {reading.says}" for reading in unread]


def _of_key(look: Look) -> Question | None:
    """The question whether the rows of a table hold for all pictures that they name, where they name several of one eye, or
    those of both eyes without a column for each."""
    by_parts = look.tables[0].by_parts if look.tables else None
    if not by_parts or not (by_parts.shared or (by_parts.of_both_eyes and _is_told_of_an_eye(look))):
        return None
    several = f"several pictures of one eye, such as {' and '.join(by_parts.shared)}" if by_parts.shared else "both eyes"
    says = f"a row of {look.tables[0].table.path.name} names {several}; if it holds for all of them, take the # away"
    return Question("key", says, [f"key: {_flow(by_parts.key)}"])


def _is_told_of_an_eye(look: Look) -> bool:
    """Whether a table has columns of one eye that say nothing of which it is."""
    by_table = any(isinstance(split.get("tables"), dict) for split in _splits(look).values())
    of_eye = [reading for reading in _readings(look) if reading.role in ("grade", "label", "condition", "number", *TEXTS)]
    return not by_table and any(not reading.sides for reading in of_eye)


def _of_folders(look: Look) -> Question | None:
    """The question what the folders of pictures stand for, where there are several in one."""
    named = Counter(_named(folder, look.root) for folders in look.pictures.values() for folder in folders)
    if not 1 < len(named) <= _MOST_FOLDERS or len({parts[:-1] for parts in named}) > 1:
        return None
    seen = ", ".join(f"{parts[-1]} ({number})" for parts, number in sorted(named.items()))
    values_ = ", ".join(f"{_flow(parts[-1])}: ?" for parts in sorted(named))
    lines = [f"- label: {{column: folder, values: {{{values_}}}}}"]
    return Question("folders", f"the folders are {seen}; what does each stand for?", lines)


def _names_pattern(look: Look, asked: list[Question]) -> str:
    """The pattern of the pictures' names, or of folder and name where the folders are asked about."""
    if not any(question.topic == "folders" for question in asked):
        return look.names.pattern
    alone = all(len(folders) == 1 for folders in look.pictures.values())  # so that a name says which picture it is
    name = "(?P<id>[^/]+)" if alone else "[^/]+"
    parts = f"(?={look.names.pattern.removeprefix('^')})" if look.names.pattern else ""
    return f"^(?P<folder>[^/]+)/{parts}{name}$"


def _of_masks(look: Look) -> Question | None:
    """The question what the masks mark, where their folders or the ends of their names tell their types apart."""
    kinds, ends = [], []
    for folder in look.masks.values():
        rest = [_rest(stem, look) for stem in folder.stems]
        if None in rest or len({not each for each in rest}) > 1:
            return None
        (ends if rest[0] else kinds).extend(rest if rest[0] else [folder.name])
    kinds, ends = list(dict.fromkeys(kinds)), list(dict.fromkeys(ends))
    if bool(kinds) == bool(ends) or len(kinds or ends) > _MOST_CODES:
        return None
    either = "|".join(map(re.escape, kinds or ends))
    name = f"^(?P<type>{either})/(?P<image>.+)$" if kinds else f"^(?P<image>.+)[_-](?P<type>{either})$"
    types = ", ".join(f"{_flow(kind)}: [?, ?]" for kind in kinds or ends)
    seen = ", ".join(f"{place}: {found.says}" for place, found in look.masks.items())
    says = f"the masks are of {', '.join(kinds or ends)}; what does each mark, one and several? Disc and cup: landmarks; {seen}"
    quoted = name.replace("'", "''")
    return Question("masks", says, ["- boxes", f"masks: {{name: '{quoted}', types: {{{types}}}}}"])


def _rest(stem: str, look: Look) -> str | None:
    """What the name of a mask has behind that of a picture, "" where it is the same; None where it names none."""
    if stem.casefold() in look.pictures:
        return ""
    picture, _, rest = re.sub(r"[_-](?=[^_-]*$)", "\n", stem).partition("\n")
    return rest if rest and picture.casefold() in look.pictures else None


def _question(topic: str, reading: Reading, codes: Counter) -> Question:
    column = reading.place
    open_ = f"{{{', '.join(f'{_flow(code)}: ?' for code in codes)}}}"
    called = f"{' and '.join(reading.columns)} hold{'s' * (len(reading.columns) == 1)}"
    seen = ", ".join(f"{code} ({number})" for code, number in codes.most_common())
    if topic == "eye":
        return Question(topic, f"{called} {seen}; which is left, which right?", [f"eye: {_flow(column)}", f"eyes: {open_}"])
    if reading.of:
        return _of_grades(reading, codes, called)
    kind = {
        "sex": f"person: {{sex: {_flow(column)}, sexes: {open_}}}",
        "quality": f"quality: {{column: {_flow(column)}, levels: {open_}}}",
        "diagnosis": f"label: {{column: {_flow(column)}, values: {open_}}}",
    }[topic]
    graded = not {"dr", "retinopathy", "grade", "level", "severity", "stage", "icdr", "sdrg"}.isdisjoint(
        plain(reading.column).split()
    )
    whole = all(re.fullmatch(r"\d", code) for code in codes) and (graded or len(codes) > 2)
    more = [f"- grade: {{column: {_flow(column)}, scale: ?}}  # or so, if these are grades of a scale, such as ICDR"]
    what = {"sex": "which is male, which female?", "quality": "what does each mean?", "diagnosis": "what does each stand for?"}
    lines = [f"- {kind}", *(more if topic == "diagnosis" and whole else [])]
    return Question(topic, f"{called} {seen}; {what[topic]}", lines)


def _of_grades(reading: Reading, codes: Iterable[str], called: str) -> Question:
    """The question what cells beside the grades of a known scale mean."""
    levels = scales()[reading.of]["levels"]
    others = [code for code in codes if tables.code(code) not in map(str, levels)]
    words = [code for code in others if re.search(r"[^\W\d_]", code)]
    says = f"{called} {' and '.join(map(repr, others))}, no grade from {min(levels)} to {max(levels)} of the scale {reading.of}"
    head = f"- grade: {{column: {_flow(reading.place)}, scale: {reading.of}"
    if not words:
        asked = "which of them mean ungradable, which are unclear?"
        return Question("diagnosis", f"{says}; {asked}", [f"{head}, ungradable: [?], unclear: [?]}}  # unclear: not told"])
    values_ = ", ".join(f"{_flow(word)}: ?" for word in words)
    unclear = f", unclear: {_flow([code for code in others if code not in words])}" if len(words) < len(others) else ""
    asked = "which grade is each word? One without a grade belongs in ungradable: [] or unclear: [], which is not told"
    return Question("diagnosis", f"{says}; {asked}", [f"{head}, values: {{{values_}}}{unclear}}}"])


def _codes(look: Look, columns: list[str]) -> Counter:
    """The different cells of columns that are filled, with their numbers, in the order of the alphabet."""
    cells = [cell for each in look.tables for column in columns for cell in each.table.column(column)]
    return Counter(sorted(cell for cell in cells if not tables.is_empty(cell)))


def _others(look: Look, asked: set[str]) -> Iterator[str]:
    for place, found in look.masks.items() if "masks" not in asked else ():
        yield f"{place}: {found.says}. To have boxes or areas, write masks and boxes, see CONTRIBUTING.md: what do they mark?"
    yield from look.others


def _columns_in(fact: dict[str, dict]) -> list[str | dict[str, str]]:
    """The columns, and pairs of columns, that a fact names."""
    ((_, settings),) = fact.items()
    named = [settings.get(key) for key in ("column", "age", "sex")]
    return [*filter(None, named), *settings.get("labels", ()), *settings.get("aspects", ())]


def _remark(says: dict[str, str], *columns: object) -> str:
    found = [says[column] for column in columns if isinstance(column, str) and column in says]
    return f"  # {'; '.join(found)}" if found else ""


def _flow(value: object) -> str:
    """A value as YAML in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1_000_000, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
