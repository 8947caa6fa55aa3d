"""LLaVA-v0's tokenizer, written out: the file forms it was published in are read differently by every library version."""

import json
from functools import cache
from pathlib import Path

from retinal_lib.errors import UserError, unknown
from retinal_lib.inference.llava.conversation_forms import IMAGE_END, IMAGE_PATCH, IMAGE_START

BOS = ("script", "training")
_PROBES = ("Is there any sign of diabetic retinopathy?", "The vessel density is 0.0712 (zone B).")


def files(folder: Path) -> dict[str, Path]:
    """The tokenizer's files by kind, `fast` (tokenizer.json) or `slow` (tokenizer.model). UserError: there is neither."""
    found = {kind: folder / name for kind, name in (("fast", "tokenizer.json"), ("slow", "tokenizer.model"))}
    found = {kind: path for kind, path in found.items() if path.is_file()}
    if not found:
        raise UserError(
            f"{folder} has no tokenizer: expected tokenizer.model (or tokenizer.json) beside the weights; "
            "copy the model's tokenizer.model and added_tokens.json there, they belong to its repository"
        )
    return found


def build(folder: Path, vocab_size: int, bos: str = "script"):
    """The tokenizer of a model's folder as a `tokenizers.Tokenizer`.

    `bos`: `script` gives the ids of the released inference script; `training` those of training, with another first token
    and without white space around an image. UserError: no tokenizer, a damaged one, or one of another model.
    """
    from tokenizers import Tokenizer

    if bos not in BOS:
        raise unknown("bos", bos, BOS)
    found = files(folder)
    if "fast" in found:
        try:
            made = Tokenizer.from_file(str(found["fast"]))
        except Exception as error:  # the library raises nothing more precise
            raise UserError(f"{found['fast']} is not readable as a tokenizer ({' '.join(str(error).split())})") from error
    else:
        made = _from_pieces(found["slow"])
    _add(made, folder, vocab_size, bos == "training")
    if bos == "training":
        _begin_with(made, _named(folder, "bos_token", "</s>"))
    _check(made, vocab_size, folder)
    return made


def _from_pieces(path: Path):
    """A BPE tokenizer as transformers 4.28 to 4.31 made its fast one from a sentencepiece file."""
    from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
    from tokenizers.models import BPE

    pieces = _pieces(path)
    vocabulary = {piece: i for i, (piece, _) in enumerate(pieces)}
    if len(vocabulary) != len(pieces) or [p for p, _ in pieces[:3]] != ["<unk>", "<s>", "</s>"]:
        raise UserError(f"{path} is no LLaMA tokenizer: its first pieces must be <unk>, <s>, </s>")
    made = Tokenizer(BPE(vocabulary, _merges(pieces, vocabulary), fuse_unk=True, byte_fallback=True, unk_token="<unk>"))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    made.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in ("<unk>", "<s>", "</s>")])
    _probe(made, path)
    return made


@cache
def _processor(path: Path, _stamp: int):
    from sentencepiece import SentencePieceProcessor

    try:
        return SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise UserError(f"{path} is not readable as a sentencepiece model ({' '.join(str(error).split())[:200]})") from error


def _pieces(path: Path) -> list[tuple[str, float]]:
    held = _processor(path, path.stat().st_mtime_ns)
    return [(held.id_to_piece(i), held.get_score(i)) for i in range(held.get_piece_size())]


def _merges(pieces: list[tuple[str, float]], vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """Every way to put a piece together from two others, the likelier pieces first."""
    found = []
    for piece, score in pieces:
        halves = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        ways = [pair for pair in halves if pair[0] in vocabulary and pair[1] in vocabulary]
        found += [(-score, pair) for pair in sorted(ways, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))]
    return [pair for _, pair in sorted(found, key=lambda entry: entry[0])]  # stable: equal scores keep their order


def _probe(made, path: Path) -> None:
    """UserError: sentencepiece itself reads sentences otherwise (the file is of another kind, such as unigram)."""
    held = _processor(path, path.stat().st_mtime_ns)
    for text in _PROBES:
        if made.encode(text, add_special_tokens=False).ids != held.encode(text):
            raise UserError(f"{path} is no BPE model with byte fallback as LLaMA's is: its ids cannot be told for certain")


def _add(made, folder: Path, vocab_size: int, trained: bool) -> None:
    """Adds the tokens of added_tokens.json, or LLaVA's own where there is none, as special: they are never spelled out."""
    from tokenizers import AddedToken

    added = _json(folder / "added_tokens.json")
    names = sorted(added, key=added.get)
    if IMAGE_PATCH not in names and made.token_to_id(IMAGE_PATCH) is None:
        names += _own_names(vocab_size - made.get_vocab_size() - sum(made.token_to_id(n) is None for n in names), folder)
    missing = [name for name in names if made.token_to_id(name) is None]
    special = [name for name in (*names, IMAGE_PATCH, IMAGE_START, IMAGE_END) if name in names or made.token_to_id(name)]
    made.add_special_tokens(
        [AddedToken(n, normalized=False, special=True, lstrip=trained, rstrip=trained) for n in dict.fromkeys(special)]
    )
    wrong = {name: made.token_to_id(name) for name in missing if name in added and made.token_to_id(name) != added[name]}
    if wrong:
        name = next(iter(wrong))
        raise UserError(
            f"{folder}: added_tokens.json gives {name} the id {added[name]}, behind the tokenizer's own pieces it gets "
            f"{wrong[name]}; tokenizer.model and added_tokens.json are of different models"
        )


def _own_names(room: int, folder: Path) -> list[str]:
    """The tokens that LLaVA adds to LLaMA's, in order, for a number of embeddings that no piece or token uses yet."""
    image = [IMAGE_PATCH, IMAGE_START, IMAGE_END]
    known = {1: image[:1], 2: ["[PAD]", *image[:1]], 3: image, 4: ["[PAD]", *image]}
    if room not in known:
        raise UserError(
            f"{folder}: the model has {room} embeddings more than the tokenizer has pieces, and added_tokens.json does not "
            "say whose they are (LLaVA adds 1 to 4); copy it from the model's repository, or this is another model's tokenizer"
        )
    return known[room]


def _begin_with(made, token: str) -> None:
    from tokenizers import processors

    made.post_processor = processors.TemplateProcessing(
        single=f"{token} $A", pair=f"{token} $A {token} $B", special_tokens=[(token, made.token_to_id(token))]
    )


def _check(made, vocab_size: int, folder: Path) -> None:
    highest = max(made.get_vocab(with_added_tokens=True).values())
    if highest >= vocab_size:
        raise UserError(
            f"{folder}: the tokenizer has ids up to {highest}, the model embeddings for {vocab_size} tokens; "
            "this is the tokenizer of another model"
        )


def _named(folder: Path, name: str, default: str) -> str:
    """A token's text as special_tokens_map.json has it, in either of its forms."""
    value = _json(folder / "special_tokens_map.json").get(name, default)
    return (value.get("content") if isinstance(value, dict) else value) or default


def _json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise UserError(f"{path} is not readable as JSON ({error})") from error
