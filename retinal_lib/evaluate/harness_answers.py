"""Answers that harnesses kept, as rows of an answers file: logs of inspect_ai, results of VLMEvalKit, samples of lmms-eval."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from retinal_lib import typed_paths
from retinal_lib.dataset import tables
from retinal_lib.errors import UserError
from retinal_lib.evaluate.harnesses import read_table
from retinal_lib.files import read_json, read_jsonl
from retinal_lib.inference import answer_files
from retinal_lib.parsing import Unreadable, json_value


def load(file: str | Path) -> list[dict]:
    """Reads the rows of an answers file, or of what a harness kept: inspect_ai's log (.eval or .json), VLMEvalKit's predictions
    (.tsv or .xlsx), lmms-eval's samples (.jsonl, by `--log_samples`). UserError: it cannot be read."""
    file = typed_paths.expand(file)
    if file.suffix in (".eval", ".json"):
        return [_row(file, *pair) for pair in _of_inspect(file)]
    if file.suffix in (".tsv", ".xlsx"):
        return [_row(file, *pair) for pair in _of_vlmevalkit(file)]
    first = next(iter(read_jsonl(file, torn_end=True)), (0, None))[1]
    if isinstance(first, dict) and ("filtered_resps" in first or "resps" in first):
        return [_row(file, *pair) for pair in _of_lmms(file)]
    return answer_files.load(file)


def _row(file: Path, id_: object, answer: object) -> dict:
    if id_ is None or not isinstance(answer, str):
        raise UserError(f"{file}: a sample without id, or without an answer in text")
    return {"id": str(id_), "qa_pairs": [{"question": "", "answer": answer}]}


def _of_inspect(file: Path) -> Iterator[tuple[object, object]]:
    log = read_json(file) if file.suffix == ".json" else _unpacked(file)
    log = log if isinstance(log, dict) else {}
    status, error, samples = log.get("status") or "success", log.get("error"), log.get("samples")
    if status != "success":
        why = f" ({error.get('message')})" if isinstance(error, dict) else ""
        raise UserError(
            f"{file}: this run of inspect_ai has the status {status!r}{why}, so that answers are missing; "
            "`inspect eval-retry` with this log asks for the rest"
        )
    if not samples:
        raise UserError(f"{file}: no samples of inspect_ai in it")
    for sample in samples:
        output = sample.get("output") or {}
        text = output.get("completion")
        if text is None:
            message = ((output.get("choices") or [{}])[0].get("message") or {}).get("content", "")
            parts = message if isinstance(message, list) else [{"type": "text", "text": message}]
            text = "".join(str(part.get("text", "")) for part in parts if part.get("type") == "text")
        yield sample.get("id"), text


def _unpacked(file: Path) -> dict:
    """Status, error and samples of a packed log; one without a header is of a run that was stopped. UserError: no such log."""
    try:
        with zipfile.ZipFile(file) as log:
            names = log.namelist()
            header = json_value(log.read("header.json")) if "header.json" in names else {}
            if "_journal/start.json" in names and not header:
                header = {"status": "started"}
            samples = [json_value(log.read(name)) for name in names if re.fullmatch(r"samples/.*\.json", name)]
    except (OSError, zipfile.BadZipFile, NotImplementedError, Unreadable) as error:
        raise UserError(
            f"{file}: no log of inspect_ai ({error}); `inspect log dump {file.name} > log.json` writes it as JSON"
        ) from error
    return (header if isinstance(header, dict) else {}) | {"samples": samples}


def _of_vlmevalkit(file: Path) -> Iterator[tuple[object, object]]:
    if file.suffix == ".tsv":
        rows = read_table(file)
    else:
        table = tables.read(file)
        rows = [dict(zip(table.columns, cells, strict=True)) for cells in zip(*table.columns.values(), strict=True)]
    if not rows or "prediction" not in rows[0]:
        raise UserError(f"{file}: no column 'prediction', as VLMEvalKit's results have it")
    for row in rows:
        yield row.get("id") or row.get("index"), row["prediction"]


def _of_lmms(file: Path) -> Iterator[tuple[object, object]]:
    for number, row in read_jsonl(file, torn_end=True):
        if not isinstance(row, dict):
            raise UserError(f"{file}, line {number}: expected an object")
        answer = row.get("filtered_resps") or row.get("resps")
        while isinstance(answer, list) and answer:
            answer = answer[0]
        doc = row.get("doc")
        yield (doc.get("id") if isinstance(doc, dict) else None) or row.get("doc_id"), answer if answer != [] else ""
