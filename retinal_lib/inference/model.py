"""RetinalGPT and other LLaVA-v0 models on today's transformers: load one, ask it about an image, or many at once."""

import hashlib
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import LlavaConfig, LlavaForConditionalGeneration
from transformers.utils import logging

from retinal_lib.errors import UserError
from retinal_lib.inference.batching import Asked, Options, answered
from retinal_lib.inference.llava import checkpoint as llava_folder
from retinal_lib.inference.llava import conversation_forms as dialogue
from retinal_lib.inference.llava import convert as llava_convert
from retinal_lib.inference.llava import memory as llava_memory
from retinal_lib.inference.llava import pixels as llava_pixels
from retinal_lib.inference.llava import tokenizer as llava_tokenizer
from retinal_lib.inference.llava.convert import convert
from retinal_lib.inference.llava.decoder import Decoder, Pick, Room, Row

__all__ = ["Chat", "Model", "Options", "convert", "load_model"]
Picture = str | Path | Image.Image
_KEPT = 256  # images whose features are kept: half a gigabyte for a 7B model
_TOP = 50  # words that sampling chooses from, as in the released script


def load_model(
    model_name: str | Path,
    vision_tower: str | Path | None = None,
    mm_projector: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str | None = None,
    bos: str = "script",
) -> "Model":
    """A model from a folder or hub id: LLaVA-v0 as published (.bin or safetensors, tower apart or inside, projector apart
    or inside), or written by `convert`. Nothing is written into its folder, and no code of its own is run.

    `vision_tower`, `mm_projector`: where the folder does not have them. `device`: auto, cpu, cuda. `dtype`: auto (half
    precision on a GPU, full on a CPU), float32, float16, bfloat16. `quantize`: 4bit, with bitsandbytes. `bos`: `script`
    (ids as the released inference script makes them) or `training`.
    UserError: a file is missing or damaged, or the memory does not suffice; says what would help.
    """
    if str(model_name).startswith("openai:"):
        from retinal_lib.inference.server_model import StandIn

        return StandIn(str(model_name).removeprefix("openai:"))
    place = llava_memory.device(device)
    kind = llava_memory.dtype(dtype, place)
    llava_memory.check_quantize(quantize, place)
    found = llava_folder.find(model_name, vision_tower, mm_projector)
    kept = (found.config.get("retinal_lib") or {}).get("bos", bos) if found.converted else bos
    tokenizer = llava_tokenizer.build(found.folder, found.text["vocab_size"], kept)
    llava_memory.check(found, place, kind, quantize)
    llava = _loaded(found, tokenizer, place, kind, quantize)
    return Model(llava, tokenizer, llava_convert.preparation(found), found)


def identity(model_name: str | Path, vision_tower: str | Path | None = None, mm_projector: str | Path | None = None) -> str:
    """What tells a model from others, from its files alone."""
    found = llava_folder.find(model_name, vision_tower, mm_projector)
    return f"{found.folder.name} {found.fingerprint}"


def _loaded(found, tokenizer, place: torch.device, kind: torch.dtype, quantize: str | None) -> LlavaForConditionalGeneration:
    config = LlavaConfig(**{k: v for k, v in llava_convert.config(found, tokenizer).items() if k != "retinal_lib"})
    options = {}
    if quantize:
        from transformers import BitsAndBytesConfig

        keep = ["vision_tower", "multi_modal_projector", "lm_head"]
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=kind, llm_int8_skip_modules=keep
        )
        options["device_map"] = {"": place}
    before, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        llava, told = LlavaForConditionalGeneration.from_pretrained(
            None, config=config, state_dict=llava_convert.state(found, kind), dtype=kind, output_loading_info=True, **options
        )
    finally:
        logging.set_verbosity(before)
        if bar:
            logging.enable_progress_bar()
    if lost := [*told["missing_keys"], *told["unexpected_keys"], *told["mismatched_keys"]]:
        raise UserError(f"{found.folder}: transformers has no place for, or no value of, {lost[0]} and {len(lost) - 1} others")
    return llava.eval() if quantize else llava.to(place).eval()


class Model:
    """A loaded model. `ask`, `chat` and `answer` take images as paths or Pillow images; answers are greedy unless a
    temperature is given, and then the same for the same seed, alone or in a batch."""

    def __init__(self, llava: LlavaForConditionalGeneration, tokenizer, preparation, found):
        self.llava, self.tokenizer, self.preparation = llava, tokenizer, preparation
        self.name, self.patches, self.start_end = found.folder.name, found.patches, found.start_end
        self.dtype, self.device = llava.dtype, llava.device
        self.identity = f"{self.name} {found.fingerprint}"
        self.place = f"{llava.device.type}, {str(llava.dtype).removeprefix('torch.')}"
        self.select_layer = found.select_layer
        self.eos = found.eos
        self._decoder = Decoder(llava, tokenizer.token_to_id(dialogue.IMAGE_PATCH), llava_convert.pad_id(tokenizer))
        self._features: OrderedDict[object, torch.Tensor] = OrderedDict()
        self._hashes = {
            i for piece, i in tokenizer.get_vocab().items() if "#" in piece or piece == "<0x23>"
        }  # may end an answer
        self.encoded = 0  # images that went through the tower
        self.noticed: dict[str, str] = {}  # image -> what is done to it that its owner may not want

    # --- from words and pictures to numbers -------------------------------------------------------------------------

    def prompt(self, questions: Sequence[str], answers: Sequence[str] = (), conv_mode: str = "simple") -> str:
        """The text that the model is told, with the tokens of one image."""
        return dialogue.form(conv_mode).prompt(questions, answers, dialogue.image_tokens(self.patches, self.start_end))

    def ids(self, prompt: str) -> list[int]:
        """A prompt as token ids."""
        return self.tokenizer.encode(prompt).ids

    def pixels(self, image: Picture) -> np.ndarray:
        """An image as the tower sees it: float32 [3, height, width]. UserError: it cannot be read."""
        picture = llava_pixels.opened(image)
        if told := llava_pixels.oddity(picture):
            self.noticed[_name(image)] = f"{_name(image) or 'the image'} {told}"
        return self.preparation.pixels(picture)

    @torch.inference_mode()
    def features(self, images: Sequence[Picture]) -> list[torch.Tensor]:
        """Images as the language model sees them: [patches, hidden] each; each is encoded once. UserError: as `pixels`."""
        keys = [_key(image) for image in images]
        new = {key: image for key, image in zip(keys, images, strict=True) if key not in self._features}
        if new:
            pixels = torch.from_numpy(np.stack([self.pixels(image) for image in new.values()]))
            inner = self.llava.model
            seen = inner.vision_tower(pixels.to(self.device, self.dtype), output_hidden_states=True)
            found = inner.multi_modal_projector(seen.hidden_states[self.select_layer][:, 1:])
            self._features |= dict(zip(new, found.unbind(0), strict=True))
            self.encoded += len(new)
        for key in keys:
            self._features.move_to_end(key)
        result = [self._features[key] for key in keys]
        for key in [key for key in new if isinstance(key, int)]:  # another picture may get the same id later
            del self._features[key]
        while len(self._features) > _KEPT:
            self._features.popitem(last=False)
        return result

    def logits(self, prompt: str, image: Picture) -> torch.Tensor:
        """The model's numbers [tokens, words] for each place of a prompt: for checks."""
        ids = self.ids(prompt)
        output = self._decoder.enter(self._decoder.room(1), [Row([], self.features([image])[0])], [ids], 0)
        with torch.inference_mode():
            return self._decoder.head(output[0])

    # --- asking -----------------------------------------------------------------------------------------------------

    def ask(self, image: Picture, question: str, **options: object) -> str:
        """The answer to one question; options as in `Options`: conv_mode, max_new_tokens, temperature, seed."""
        return self.chat(image, **options).ask(question)

    def chat(self, image: Picture, **options: object) -> "Chat":
        """A conversation about an image. UserError: an unknown option, or the image cannot be read."""
        return Chat(self, image, Options.of(**options))

    def answer(
        self, questions: Sequence[str | Sequence[str]], images: Sequence[Picture] | Picture, **options: object
    ) -> list[str | list[str]]:
        """Answers in the order of the questions; a list of questions is one conversation and gets a list of answers.

        `images`: a list with one for each, or one image for all. UserError: an image cannot be read, an unknown option.
        """
        return answered(self, questions, images, **options)

    def check(self, asked: Asked) -> None:
        """UserError: the request's image cannot be read."""
        self.features([asked.image])

    def is_out(self, error: BaseException) -> bool:
        """Whether the error says that memory ran out; lets go of what is not needed."""
        out = llava_memory.is_out(error)
        if out and self.device.type == "cuda":
            torch.cuda.empty_cache()
        return out

    def length(self, asked: Asked, options: Options) -> int:
        """How long a request is, for putting like to like: its number of turns, then of letters."""
        return len(asked.questions) * 10_000 + len(" ".join(asked.questions))

    def converse(self, batch: Sequence[Asked], options: Options) -> list[list[str]]:
        """The answers of several conversations at once, turn by turn. UserError: an image cannot be read."""
        features = self.features([asked.image for asked in batch])
        talk = _Talk(self, features, options, [_name(asked.image) for asked in batch])
        answers: list[list[str]] = [[] for _ in batch]
        for turn in range(max(len(asked.questions) for asked in batch)):
            talk.keep([i for i, asked in enumerate(batch) if len(asked.questions) > turn])
            prompts = [self.prompt(batch[i].questions[: turn + 1], answers[i], options.conv_mode) for i in talk.present]
            for i, text in zip(talk.present, talk.write(prompts), strict=True):
                answers[i].append(text)
        return answers


class _Talk:
    """Conversations side by side, with what was computed of them so far; `present` are the numbers of those that go on."""

    def __init__(self, model: Model, features: Sequence[torch.Tensor], options: Options, images: Sequence[str]):
        self.model, self.options, self.images = model, options, list(images)
        self.form = dialogue.form(options.conv_mode)
        self._end = model.tokenizer.token_to_id("</s>") if self.form.stop == "</s>" else None
        self.rows = [Row([], found) for found in features]
        self.present = list(range(len(features)))
        self.written: list[list[int]] = []  # the ids of the latest answers, as the model wrote them
        self.room: Room = model._decoder.room(len(features))

    def keep(self, present: list[int]) -> None:
        """Lets go of the conversations that have ended."""
        if present != self.present:
            places = [self.present.index(i) for i in present]
            self.room.choose(places)
            self.rows, self.present = [self.rows[place] for place in places], present

    def write(self, prompts: Sequence[str]) -> list[str]:
        """The answers to prompts, one for each present conversation."""
        model, options = self.model, self.options
        output = model._decoder.enter(self.room, self.rows, [model.ids(p) for p in prompts], options.max_new_tokens)
        pick = _greedy if not options.temperature else self._sampler(prompts)
        written = model._decoder.go_on(self.room, self.rows, output, options.max_new_tokens, pick, self._ended)
        self.written = written
        return [dialogue.answer(self._text(ids), self.form.stop) for ids in written]

    def _ended(self, ids: list[int]) -> bool:
        if ids[-1] in self.model.eos or ids[-1] == self._end:
            return True
        if not self.options.stop or ids[-1] not in self.model._hashes:
            return False
        return dialogue.is_complete(self._text(ids), self.form.stop)

    def _text(self, ids: list[int]) -> str:
        return self.model.tokenizer.decode(ids, skip_special_tokens=True)

    def _sampler(self, prompts: Sequence[str]) -> Pick:
        """Draws for each row by a generator of its own, so that a batch changes nothing."""
        seeds = [_seed(self.options.seed, p, self.images[i]) for i, p in zip(self.present, prompts, strict=True)]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]

        def pick(logits: torch.Tensor) -> torch.Tensor:
            values, words = (logits.float().cpu() / self.options.temperature).topk(min(_TOP, logits.shape[-1]), dim=-1)
            shares = values.softmax(-1)
            drawn = [torch.multinomial(row, 1, generator=g) for row, g in zip(shares, generators, strict=True)]
            return words.gather(1, torch.stack(drawn))[:, 0]

        return pick


def _greedy(logits: torch.Tensor) -> torch.Tensor:
    return logits.argmax(-1)


def _name(image: Picture) -> str:
    return Path(image).name if isinstance(image, str | Path) else ""


def _key(image: Picture) -> object:
    """What tells an image from others: a file by its path and state, a Pillow image by itself."""
    if isinstance(image, Image.Image):
        return id(image)
    path = Path(image).expanduser()
    return (str(path), path.stat().st_mtime_ns) if path.is_file() else (str(path), None)


def _seed(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "big")


class Chat:
    """A conversation about one image; what was computed in earlier turns is kept."""

    def __init__(self, model: Model, image: Picture, options: Options):
        self.model, self.options = model, options
        self.questions: list[str] = []
        self.answers: list[str] = []
        self._talk = _Talk(model, model.features([image]), options, [_name(image)])
        if _name(image) in model.noticed:
            warnings.warn(model.noticed[_name(image)], stacklevel=3)

    @property
    def written(self) -> list[int]:
        """The latest answer's ids as the model wrote them."""
        return self._talk.written[0]

    def ask(self, question: str, **options: object) -> str:
        """The answer to the next question; options hold for this one."""
        if "conv_mode" in options:
            raise UserError("conv_mode is of a whole conversation: pass it to `chat`")
        self._talk.options = Options.of(**(self.options.given | options))
        self.questions.append(question)
        prompt = self.model.prompt(self.questions, self.answers, self.options.conv_mode)
        text = self._talk.write([prompt])[0]
        self.answers.append(text)
        return text
