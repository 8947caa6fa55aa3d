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
from retinal_lib.inference.llava.generation import Conversations, Sampler, embed

__all__ = ["Chat", "Model", "Options", "convert", "load_model"]
Picture = str | Path | Image.Image
_KEPT = 256  # images whose features are kept: half a gigabyte for a 7B model


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
        self._pad_id = llava_convert.pad_id(tokenizer)
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

    @torch.inference_mode()
    def logits(self, prompt: str, image: Picture) -> torch.Tensor:
        """The model's logits [tokens, vocabulary] at each place of a prompt about an image: for checks."""
        embedded = embed(self.llava, torch.tensor([self.ids(prompt)]), self.features([image]))
        return self.llava(inputs_embeds=embedded).logits[0]

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
        conversations = self.conversations([asked.image for asked in batch])
        answers: list[list[str]] = [[] for _ in batch]
        for turn in range(max(len(asked.questions) for asked in batch)):
            going = {i: asked for i, asked in enumerate(batch) if len(asked.questions) > turn}
            prompts = {i: self.prompt(a.questions[: turn + 1], answers[i], options.conv_mode) for i, a in going.items()}
            written = self.generate(conversations, prompts, [_name(asked.image) for asked in going.values()], options)
            for i, ids in written.items():
                answers[i].append(self.text(ids, options))
        return answers

    def conversations(self, images: Sequence[Picture]) -> Conversations:
        """Conversations about images, nothing asked yet. UserError: an image cannot be read."""
        return Conversations(self.llava, self.features(images), self._pad_id)

    def generate(
        self, conversations: Conversations, prompts: dict[int, str], images: Sequence[str], options: Options
    ) -> dict[int, list[int]]:
        """The ids written after each prompt, by conversation; the images' names are part of the seeds."""
        sampler = None
        if options.temperature:
            seeds = [_seed(options.seed, prompt, image) for prompt, image in zip(prompts.values(), images, strict=True)]
            sampler = Sampler(options.temperature, seeds)
        ids = {number: self.ids(prompt) for number, prompt in prompts.items()}
        return conversations.generate(ids, options.max_new_tokens, lambda written: self._has_ended(written, options), sampler)

    def text(self, ids: Sequence[int], options: Options) -> str:
        """The answer in what the model wrote."""
        return dialogue.answer(self._decoded(ids), dialogue.form(options.conv_mode).stop)

    def _has_ended(self, ids: list[int], options: Options) -> bool:
        stop = dialogue.form(options.conv_mode).stop
        if ids[-1] in self.eos or (stop == "</s>" and ids[-1] == self.tokenizer.token_to_id(stop)):
            return True
        return options.stop and ids[-1] in self._hashes and dialogue.is_complete(self._decoded(ids), stop)

    def _decoded(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)


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
        self.written: list[int] = []  # the latest answer's ids as the model wrote them
        self._image, self._conversation = _name(image), model.conversations([image])
        if _name(image) in model.noticed:
            warnings.warn(model.noticed[_name(image)], stacklevel=3)

    def ask(self, question: str, **options: object) -> str:
        """The answer to the next question; options hold for this one."""
        if "conv_mode" in options:
            raise UserError("conv_mode is of a whole conversation: pass it to `chat`")
        chosen = Options.of(**(self.options.given | options))
        self.questions.append(question)
        prompt = self.model.prompt(self.questions, self.answers, chosen.conv_mode)
        self.written = self.model.generate(self._conversation, {0: prompt}, [self._image], chosen)[0]
        self.answers.append(self.model.text(self.written, chosen))
        return self.answers[-1]
