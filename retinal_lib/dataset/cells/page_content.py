"""The columns of a person's own table as a dataset page names them: its key, eyes, patients and facts."""

from collections.abc import Iterable

from retinal_lib.dataset.cells import values
from retinal_lib.dataset.cells.columns import TEXTS, Reading
from retinal_lib.dataset.cells.values import plain


def page_content(readings: list[Reading]) -> dict[str, object]:
    """Returns what a dataset page says of the columns of a table: its keys key, eye, eyes, patient and facts."""
    by_role: dict[str, list[Reading]] = {}
    for reading in readings:
        by_role.setdefault(reading.role, []).append(reading)
    content: dict[str, object] = {"key": by_role["image"][0].column} if "image" in by_role else {}
    for role in ("eye", "patient"):
        if role in by_role:
            content[role] = by_role[role][0].column
    if "eye" in by_role:
        content["eyes"] = by_role["eye"][0].book
    return content | {"facts": list(_facts(by_role))}


def _facts(by_role: dict[str, list[Reading]]) -> Iterable[dict[str, object]]:
    texts = {reading.column: aspect for role, aspect in TEXTS.items() for reading in by_role.get(role, ())}
    person = {role: by_role[role][0].column for role in ("age", "sex") if role in by_role}
    if person:
        yield {"person": person | ({"sexes": by_role["sex"][0].book} if "sex" in by_role else {})}
    for reading in by_role.get("person's", ()):
        yield {"patient_labels": {"labels": {reading.column: reading.of}, **_codes(reading)}}
    for reading in by_role.get("label", ()):
        yield {"label": {"column": reading.place, "values": reading.book}}
    for reading in by_role.get("grade", ()):
        marked = {what: [cell for cell, of in reading.book.items() if of == what] for what in ("ungradable", "unclear")}
        more = {what: cells for what, cells in marked.items() if cells}
        yield {"grade": {"column": reading.place, "scale": reading.of, **more}}
    for reading in by_role.get("number", ()):
        yield {"number": {"column": reading.place, **reading.number}}
    if conditions := by_role.get("condition", ()):
        codes = {str(_codes(reading)): _codes(reading) for reading in conditions}
        if len(codes) == 1 and not any(reading.sides for reading in conditions):
            yield {"flags": {"labels": {reading.column: reading.of for reading in conditions}, **_codes(conditions[0])}}
        else:
            own = {r.column: {"column": r.place} if r.sides else {} for r in conditions}
            labels = {r.column: {"words": r.of, **own[r.column], **_codes(r)} for r in conditions}
            yield {"flags": {"labels": labels}}
    if texts:
        private = [name for role in ("private", "patient") for reading in by_role.get(role, ()) for name in reading.columns]
        named = [reading.column for some in by_role.values() for reading in some]
        unclear = values.words()["other meaning"] if values.languages(named) else []
        more = {name: listed for name, listed in (("private", private), ("unclear", unclear)) if listed}
        yield {"columns": {"aspects": texts, **more}}


def _codes(reading: Reading) -> dict[str, list[str]]:
    """The cells that say yes and no, each with its other, whether or not that occurs."""
    both: dict[str, str] = {}
    for yes, no in zip(*(values.words()[word] for word in ("yes", "no")), strict=True):
        both.setdefault(yes, no)
        both.setdefault(no, yes)
    book = {both[plain(cell)]: meaning for cell, meaning in reading.book.items() if plain(cell) in both}
    swapped = {"present": "absent", "absent": "present"}
    every = {cell: swapped[meaning] for cell, meaning in book.items()} | reading.book
    return {meaning: sorted({cell for cell, m in every.items() if m == meaning}, key=str.casefold) for meaning in swapped}
