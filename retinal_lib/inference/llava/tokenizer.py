"""LLaVA-v0's tokenizer built explicitly: each version of transformers reads the published files differently."""

from functools import cache
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
from tokenizers.models import BPE

from retinal_lib.errors import UserError, unknown
from retinal_lib.files import read_object
from retinal_lib.inference.llava.conversation_forms import IMAGE_END, IMAGE_PATCH, IMAGE_START

BOS = ("script", "training")
_PROBES = ("Is there any sign of diabetic retinopathy?", "The vessel density is 0.0712 (zone B).")


def build_tokenizer(folder: Path, vocab_size: int, bos: str = "script") -> Tokenizer:
    """Builds the tokenizer of a model's folder.

    `bos`: `script` gives the ids of the released inference script; `training` those of training, with another first token
    and without white space around an image. UserError: no tokenizer, a damaged one, or one of another model.
    """
    if bos not in BOS:
        raise unknown("bos", bos, BOS)
    fast, slow = folder / "tokenizer.json", folder / "tokenizer.model"
    if fast.is_file():
        try:
            tokenizer = Tokenizer.from_file(str(fast))
        except Exception as error:  # the library raises nothing more precise
            raise UserError(f"{fast} is not readable as a tokenizer ({' '.join(str(error).split())})") from error
    elif slow.is_file():
        tokenizer = _from_sentencepiece(slow)
    else:
        raise UserError(
            f"{folder} has no tokenizer: expected tokenizer.model (or tokenizer.json) beside the weights; "
            "copy the model's tokenizer.model and added_tokens.json there, they belong to its repository"
        )
    _add_tokens(tokenizer, folder, vocab_size, bos == "training")
    if bos == "training":
        _begin_with(tokenizer, _bos_token(folder))
    _check_size(tokenizer, vocab_size, folder)
    return tokenizer


def _from_sentencepiece(path: Path) -> Tokenizer:
    """A BPE tokenizer as transformers 4.28 to 4.31 made one from a sentencepiece file."""
    pieces = _pieces(path)
    vocabulary = {piece: i for i, (piece, _) in enumerate(pieces)}
    if len(vocabulary) != len(pieces) or [p for p, _ in pieces[:3]] != ["<unk>", "<s>", "</s>"]:
        raise UserError(f"{path} is no LLaMA tokenizer: its first pieces must be <unk>, <s>, </s>")
    tokenizer = Tokenizer(BPE(vocabulary, _merges(pieces, vocabulary), fuse_unk=True, byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in ("<unk>", "<s>", "</s>")])
    _compare(tokenizer, path)
    return tokenizer


@cache
def _processor(path: Path, _stamp: int):
    from sentencepiece import SentencePieceProcessor

    try:
        return SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise UserError(f"{path} is not readable as a sentencepiece model ({' '.join(str(error).split())[:200]})") from error


def _pieces(path: Path) -> list[tuple[str, float]]:
    """Each piece with its score, by id."""
    processor = _processor(path, path.stat().st_mtime_ns)
    return [(processor.id_to_piece(i), processor.get_score(i)) for i in range(processor.get_piece_size())]


def _merges(pieces: list[tuple[str, float]], vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """Every way to put a piece together from two others, the likelier pieces first."""
    scored = []
    for piece, score in pieces:
        halves = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        pairs = [pair for pair in halves if pair[0] in vocabulary and pair[1] in vocabulary]
        scored += [(-score, pair) for pair in sorted(pairs, key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))]
    return [pair for _, pair in sorted(scored, key=lambda entry: entry[0])]  # stable: equal scores keep their order


def _compare(tokenizer: Tokenizer, path: Path) -> None:
    """UserError: sentencepiece itself gives other ids (the file is of another kind, such as unigram)."""
    processor = _processor(path, path.stat().st_mtime_ns)
    for text in _PROBES:
        if tokenizer.encode(text, add_special_tokens=False).ids != processor.encode(text):
            raise UserError(f"{path} is no BPE model with byte fallback as LLaMA's is: its ids would not be certain")


def _add_tokens(tokenizer: Tokenizer, folder: Path, vocab_size: int, training: bool) -> None:
    """Adds the tokens of added_tokens.json, or LLaVA's own where there is none, as special: they are never spelled out."""
    file = folder / "added_tokens.json"
    added = read_object(file) if file.is_file() else {}
    names = sorted(added, key=added.get)
    if IMAGE_PATCH not in names and tokenizer.token_to_id(IMAGE_PATCH) is None:
        known = tokenizer.get_vocab_size() + sum(tokenizer.token_to_id(name) is None for name in names)
        names += _llava_tokens(vocab_size - known, folder)
    missing = [name for name in names if tokenizer.token_to_id(name) is None]
    special = [name for name in (*names, IMAGE_PATCH, IMAGE_START, IMAGE_END) if name in names or tokenizer.token_to_id(name)]
    tokenizer.add_special_tokens(
        [AddedToken(n, normalized=False, special=True, lstrip=training, rstrip=training) for n in dict.fromkeys(special)]
    )
    for name in missing:
        if (number := tokenizer.token_to_id(name)) != added.get(name, number):
            raise UserError(
                f"{folder}: added_tokens.json gives {name} the id {added[name]}, after the tokenizer's own pieces it gets "
                f"{number}; tokenizer.model and added_tokens.json are of different models"
            )


def _llava_tokens(count: int, folder: Path) -> list[str]:
    """The tokens that LLaVA adds to LLaMA's, in order, for a number of embeddings that no piece or token uses yet."""
    image = [IMAGE_PATCH, IMAGE_START, IMAGE_END]
    known = {1: image[:1], 2: ["[PAD]", *image[:1]], 3: image, 4: ["[PAD]", *image]}
    if count not in known:
        raise UserError(
            f"{folder}: the model has {count} embeddings more than the tokenizer has pieces, and added_tokens.json does not "
            "say whose they are (LLaVA adds 1 to 4); copy it from the model's repository, or this is another model's tokenizer"
        )
    return known[count]


def _begin_with(tokenizer: Tokenizer, token: str) -> None:
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{token} $A", pair=f"{token} $A {token} $B", special_tokens=[(token, tokenizer.token_to_id(token))]
    )


def _check_size(tokenizer: Tokenizer, vocab_size: int, folder: Path) -> None:
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values())
    if highest >= vocab_size:
        raise UserError(
            f"{folder}: the tokenizer has ids up to {highest}, the model embeddings for {vocab_size} tokens; "
            "this is the tokenizer of another model"
        )


def _bos_token(folder: Path) -> str:
    """The first token of training as special_tokens_map.json has it, in either of its forms."""
    file = folder / "special_tokens_map.json"
    value = read_object(file).get("bos_token") if file.is_file() else None
    return (value.get("content") if isinstance(value, dict) else value) or "</s>"
