"""LLaVA-v0 models such as RetinalGPT on today's transformers: one asked about an image, or many conversations at once."""

import warnings
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import LlavaForConditionalGeneration

from retinal_lib import typed_paths
from retinal_lib.errors import UserError
from retinal_lib.inference.batching import Answerer, ImageQuestions, Options
from retinal_lib.inference.llava import conversation_forms, memory, pixels, weights
from retinal_lib.inference.llava.checkpoint import Checkpoint
from retinal_lib.inference.llava.convert import llava_config, pad_id, preprocessing
from retinal_lib.inference.llava.generation import Conversations, Sampler, embed
from retinal_lib.inference.llava.tokenizer import build_tokenizer
from retinal_lib.inference.opening import Opening

Picture = str | Path | Image.Image
_KEPT_IMAGES = 256  # images whose features are kept: half a gigabyte for a 7B model


def load(checkpoint: Checkpoint, opening: Opening, bos: str) -> "Model":
    """Loads a checkpoint; see `loading.load_model`. UserError: as there."""
    if checkpoint.converted:  # a converted folder says with which first token it was written
        bos = checkpoint.config.get("retinal_lib", {}).get("bos", bos)
    tokenizer = build_tokenizer(checkpoint.folder, checkpoint.text_config["vocab_size"], bos)
    config = llava_config(checkpoint, tokenizer)
    shapes = weights.shapes(config)
    target, number_format = opening.choose(checkpoint.folder.name, weights.count(shapes))
    tensors: dict[str, torch.Tensor] = {}
    for part in weights.read_weights(checkpoint, shapes):  # weights stored in this format stay on disk until they are used
        tensors |= {name: tensor.to(number_format) for name, tensor in part.items()}
    kind = LlavaForConditionalGeneration
    return Model(
        opening.open(kind, checkpoint, target, number_format, config=config, state_dict=tensors), tokenizer, checkpoint
    )


class Model(Answerer):
    """A loaded model. Images are paths or Pillow images. Answers are greedy unless a temperature is given, and then the same
    for the same seed, alone or in a batch."""

    def __init__(self, llava: LlavaForConditionalGeneration, tokenizer: Tokenizer, checkpoint: Checkpoint):
        self.llava, self.tokenizer, self.checkpoint = llava, tokenizer, checkpoint
        self.preprocessing = preprocessing(checkpoint)
        self.name = checkpoint.name
        self.patches, self.eos = checkpoint.patches, checkpoint.eos
        self.device, self.dtype = llava.device, llava.dtype
        self.runs_on = f"{llava.device.type}, {str(llava.dtype).removeprefix('torch.')}"
        self.notes: dict[str, str] = {}
        self.encoded = 0  # images that went through the vision tower
        self._features: OrderedDict[object, torch.Tensor] = OrderedDict()
        self._hashes = {i for piece, i in tokenizer.get_vocab().items() if "#" in piece or piece == "<0x23>"}  # may end "###"

    @cached_property
    def identity(self) -> str:
        """The model's name and a hash of its weights."""
        return self.checkpoint.identity

    # --- from words and pictures to numbers -------------------------------------------------------------------------

    def prompt(self, questions: Sequence[str], answers: Sequence[str] = (), conv_mode: str = "simple") -> str:
        """Writes the text that the model is given, with the tokens of one image. UserError: conv_mode is unknown."""
        image = conversation_forms.image_tokens(self.patches, self.checkpoint.start_end)
        return conversation_forms.form(conv_mode).prompt(questions, answers, image)

    def ids(self, prompt: str) -> list[int]:
        """Encodes a prompt as token ids."""
        return self.tokenizer.encode(prompt).ids

    def pixels(self, image: Picture) -> np.ndarray:
        """Prepares an image for the vision tower: float32 [3, height, width]. UserError: it cannot be read."""
        picture = pixels.load_image(image)
        if warning := pixels.warning(picture):
            self.notes[_name(image)] = f"{_name(image) or 'the image'} {warning}"
        return self.preprocessing.pixels(picture)

    @torch.inference_mode()
    def features(self, images: Sequence[Picture]) -> list[torch.Tensor]:
        """Encodes images for the language model, each once: [patches, hidden] each. UserError: one cannot be read."""
        keys = [_key(image) for image in images]
        new = {key: image for key, image in zip(keys, images, strict=True) if key not in self._features}
        if new:
            prepared = torch.from_numpy(np.stack([self.pixels(image) for image in new.values()]))
            inner = self.llava.model
            states = inner.vision_tower(prepared.to(self.device, self.dtype), output_hidden_states=True).hidden_states
            encoded = inner.multi_modal_projector(states[self.checkpoint.select_layer][:, 1:])
            self._features |= dict(zip(new, encoded.unbind(0), strict=True))
            self.encoded += len(new)
        for key in keys:
            self._features.move_to_end(key)
        features = [self._features[key] for key in keys]
        for key in [key for key in new if isinstance(key, int)]:  # another picture may get the same id later
            del self._features[key]
        while len(self._features) > _KEPT_IMAGES:
            self._features.popitem(last=False)
        return features

    @torch.inference_mode()
    def logits(self, prompt: str, image: Picture) -> torch.Tensor:
        """Computes the logits [tokens, vocabulary] at each place of a prompt about an image. UserError: as in `features`."""
        embedded = embed(self.llava, torch.tensor([self.ids(prompt)]), self.features([image]))
        return self.llava(inputs_embeds=embedded).logits[0]

    # --- asking -----------------------------------------------------------------------------------------------------

    def chat(self, image: Picture, **options: object) -> "Chat":
        """Opens a conversation about an image. UserError: an unknown option, or the image cannot be read."""
        return Chat(self, image, Options.of(**options))

    def check(self, asked: ImageQuestions) -> None:
        """UserError: the conversation's image cannot be read."""
        self.features([asked.image])

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether the error says that memory ran out; frees unused GPU memory."""
        return memory.is_out_of_memory(error)

    def converse(self, batch: Sequence[ImageQuestions], options: Options) -> list[list[str]]:
        """Answers several conversations at once, turn by turn. UserError: an image cannot be read."""
        conversations = self.conversations([asked.image for asked in batch])
        answers: list[list[str]] = [[] for _ in batch]
        for turn in range(max(len(asked.questions) for asked in batch)):
            going = {i: asked for i, asked in enumerate(batch) if len(asked.questions) > turn}
            prompts = {i: self.prompt(a.questions[: turn + 1], answers[i], options.conv_mode) for i, a in going.items()}
            names = [_name(asked.image) for asked in going.values()]
            for i, ids in self.generate(conversations, prompts, names, options).items():
                answers[i].append(self.text(ids, options))
        return answers

    def conversations(self, images: Sequence[Picture]) -> Conversations:
        """Begins a conversation about each image. UserError: an image cannot be read."""
        return Conversations(self.llava, self.features(images), pad_id(self.tokenizer))

    def generate(
        self, conversations: Conversations, prompts: dict[int, str], names: Sequence[str], options: Options
    ) -> dict[int, list[int]]:
        """Generates the ids after each prompt, by conversation; the images' names are part of the seeds."""
        sampler = None
        if options.temperature:
            sampler = Sampler.of(options.temperature, options.seed, zip(prompts.values(), names, strict=True))
        ids = {number: self.ids(prompt) for number, prompt in prompts.items()}
        return conversations.generate(ids, options.max_new_tokens, lambda written: self._has_ended(written, options), sampler)

    def text(self, ids: Sequence[int], options: Options) -> str:
        """Decodes ids and cuts out the answer."""
        return conversation_forms.clean_answer(self._decode(ids), conversation_forms.form(options.conv_mode).stop)

    def _has_ended(self, ids: list[int], options: Options) -> bool:
        stop = conversation_forms.form(options.conv_mode).stop
        if ids[-1] in self.eos or (stop == "</s>" and ids[-1] == self.tokenizer.token_to_id(stop)):
            return True
        return options.stop and ids[-1] in self._hashes and conversation_forms.is_complete(self._decode(ids), stop)

    def _decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)


class Chat:
    """A conversation about one image; what was computed in earlier turns is kept."""

    def __init__(self, model: Model, image: Picture, options: Options):
        self.model, self.options = model, options
        self.questions: list[str] = []
        self.answers: list[str] = []
        self.written: list[int] = []  # the latest answer's ids as the model wrote them
        self._name, self._conversation = _name(image), model.conversations([image])
        if self._name in model.notes:
            warnings.warn(model.notes[self._name], stacklevel=3)

    def ask(self, question: str, **options: object) -> str:
        """Answers the next question; options hold for this one. UserError: an unknown option, or conv_mode."""
        if "conv_mode" in options:
            raise UserError("conv_mode holds for a whole conversation; pass it to `chat`, not to `ask`")
        chosen = self.options.with_changes(**options)
        self.questions.append(question)
        prompt = self.model.prompt(self.questions, self.answers, chosen.conv_mode)
        self.written = self.model.generate(self._conversation, {0: prompt}, [self._name], chosen)[0]
        self.answers.append(self.model.text(self.written, chosen))
        return self.answers[-1]


def _name(image: Picture) -> str:
    return Path(image).name if isinstance(image, str | Path) else ""


def _key(image: Picture) -> object:
    """What tells an image from others: a file by its path and state, a Pillow image by itself."""
    if isinstance(image, Image.Image):
        return id(image)
    path = typed_paths.expand(image)
    return (str(path), path.stat().st_mtime_ns) if path.is_file() else (str(path), None)
