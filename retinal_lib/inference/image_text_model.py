"""Image-text models that transformers knows, such as Qwen2.5-VL, InternVL or MedGemma, by their own processor and template."""

import pickle
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from PIL import Image
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    LogitsProcessorList,
    PretrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from retinal_lib.errors import UserError
from retinal_lib.imaging import images
from retinal_lib.inference.batching import Answerer, ImageQuestions, MessageChat, Options
from retinal_lib.inference.llava import memory
from retinal_lib.inference.llava.checkpoint import Checkpoint
from retinal_lib.inference.llava.conversation_forms import without_image_tokens
from retinal_lib.inference.llava.generation import Sampler
from retinal_lib.inference.opening import Opening
from retinal_lib.text import reply_text

Picture = str | Path | Image.Image
# what transformers raises on folders that are damaged or of another kind, by kind and version
_REFUSALS = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError, SafetensorError)
_REFUSALS += (pickle.UnpicklingError, StrictDataclassError)


def load(checkpoint: Checkpoint, opening: Opening) -> "ImageTextModel":
    """Loads a checkpoint; see `loading.load_model`. UserError: as there."""
    folder, kind = checkpoint.folder, checkpoint.config.get("model_type")
    if kind not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise UserError(
            f"{folder}: model_type is {kind!r}; expected a LLaVA model on LLaMA, or an image-text model that transformers knows"
        )
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        processor = _processor(folder, config)
        with torch.device("meta"):
            numbers = AutoModelForImageTextToText.from_config(config, trust_remote_code=False).num_parameters()
        own = config.dtype if isinstance(config.dtype, torch.dtype) else torch.float16
        chosen = opening.choose(folder.name, numbers, own)
        network = opening.open(AutoModelForImageTextToText, checkpoint, *chosen, config=config, trust_remote_code=False)
    except _REFUSALS as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise UserError(f"{folder} cannot be opened by transformers as a model of type {kind} ({why})") from error
    return ImageTextModel(network, processor, checkpoint)


def _processor(folder: Path, config: PretrainedConfig) -> ProcessorMixin:
    """The folder's processor without its part for videos, which alone would need torchvision. UserError: there is none, or no
    chat template."""
    if (kind := PROCESSOR_MAPPING.get(type(config), None)) is None:
        raise UserError(f"{folder}: transformers has no processor for models of type {config.model_type}")
    attributes = [name for name in kind.get_attributes() if name != "video_processor"]
    of_images = type(kind.__name__, (kind,), {"get_attributes": classmethod(lambda cls: attributes)})
    processor = of_images.from_pretrained(folder, trust_remote_code=False)
    if not processor.chat_template:
        raise UserError(f"{folder} has no chat_template.jinja: nothing says in which words this model is asked")
    processor.tokenizer.padding_side = "left"
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return processor


class ImageTextModel(Answerer):
    """A loaded model. Images are paths or Pillow images, shown upright. Answers are greedy unless a temperature is given, and
    then the same for the same seed, alone or in a batch. Each turn is computed anew from the whole conversation."""

    own_form = True

    def __init__(self, network: PreTrainedModel, processor: ProcessorMixin, checkpoint: Checkpoint):
        self.network, self.processor, self.checkpoint = network, processor, checkpoint
        self.name, self.notes = checkpoint.name, dict[str, str]()
        self.runs_on = f"{network.device.type}, {str(network.dtype).removeprefix('torch.')}"
        # how to sample is said by the options here, whatever the folder suggests
        network.generation_config.update(do_sample=False, temperature=1.0, top_p=1.0, top_k=50)

    @cached_property
    def identity(self) -> str:
        """The model's name and a hash of its weights."""
        return self.checkpoint.identity

    def message(self, question: str, image: Image.Image | None = None) -> dict:
        """Writes a user's message, with the image before the question where there is one."""
        seen = [{"type": "image", "image": image}] if image else []
        return {"role": "user", "content": [*seen, {"type": "text", "text": without_image_tokens(question)}]}

    def answer_message(self, text: str) -> dict:
        """Writes the message of an answer."""
        return {"role": "assistant", "content": [{"type": "text", "text": text}]}

    def chat(self, image: Picture, **options: object) -> MessageChat:
        """Opens a conversation about an image. UserError: an unknown option, or the image cannot be read."""
        return MessageChat(self, _upright(image), self._checked(Options.of(**options)))

    def check(self, asked: ImageQuestions) -> None:
        """UserError: the conversation's image cannot be read."""
        _upright(asked.image)

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether the error says that memory ran out; frees unused GPU memory."""
        return memory.is_out_of_memory(error)

    def converse(self, batch: Sequence[ImageQuestions], options: Options) -> list[list[str] | UserError]:
        """Answers several conversations at once, turn by turn; a UserError in place of answers says why there are none.
        UserError: an image cannot be read."""
        self._checked(options)
        pictures = [_upright(asked.image) for asked in batch]
        messages: list[list[dict]] = [[] for _ in batch]
        answers: list[list[str]] = [[] for _ in batch]
        problems: dict[int, UserError] = {}
        for turn in range(max(len(asked.questions) for asked in batch)):
            going = [i for i, asked in enumerate(batch) if len(asked.questions) > turn and i not in problems]
            for i in going:
                messages[i].append(self.message(batch[i].questions[turn], None if turn else pictures[i]))
            for i, (text, problem) in zip(going, self._replies([messages[i] for i in going], options), strict=True):
                messages[i].append(self.answer_message(text))
                answers[i].append(text)
                if problem:
                    problems[i] = UserError(problem)
        return [problems.get(i, given) for i, given in enumerate(answers)]

    def reply(self, messages: list[dict], options: Options) -> str:
        """Answers a conversation so far. UserError: there is no answer."""
        text, problem = self._replies([messages], self._checked(options))[0]
        if problem:
            raise UserError(problem)
        return text

    @torch.inference_mode()
    def _replies(self, conversations: list[list[dict]], options: Options) -> list[reply_text.ChatAnswer]:
        """What the model writes next in each conversation, without its thoughts, or the problem with it."""
        sampler = None
        if options.temperature:
            rows = (tuple(message["content"][-1]["text"] for message in messages) for messages in conversations)
            sampler = Sampler.of(options.temperature, options.seed, rows)
        given = self.processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self.network.device, self.network.dtype)
        rows = self.network.generate(
            **given,
            max_new_tokens=options.max_new_tokens,
            pad_token_id=self.processor.tokenizer.pad_token_id,
            logits_processor=LogitsProcessorList([sampler] if sampler else []),
            **({} if options.stop else {"eos_token_id": None}),
        )
        written = self.processor.batch_decode(rows[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
        choices = [{"message": {"content": text.strip()}, "finish_reason": "stop"} for text in written]
        return [reply_text.chat_answer(choice, "max_new_tokens") for choice in choices]

    def _checked(self, options: Options) -> Options:
        """The options. UserError: one has no meaning for this model."""
        if "conv_mode" in options.given:
            raise UserError(f"conv_mode is for LLaVA-v0 models; {self.name} brings its own chat template")
        return options


def _upright(image: Picture) -> Image.Image:
    """An image as people see it, RGB. UserError: it cannot be read."""
    if isinstance(image, Image.Image):
        return images.rgb(images.upright(image))
    return images.load_upright(Path(image).expanduser(), images.MAX_PIXELS)
