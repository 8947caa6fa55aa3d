"""The training loop: a model that `load_model` opens learns the answers of conversations, by teacher forcing."""

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from retinal_lib import typed_paths
from retinal_lib.errors import UserError
from retinal_lib.imaging.images import MAX_PIXELS, load_upright
from retinal_lib.inference import load_model
from retinal_lib.inference.batching import Answerer
from retinal_lib.inference.image_text_model import ImageTextModel
from retinal_lib.inference.llava import checkpoint, memory
from retinal_lib.inference.llava.convert import convert
from retinal_lib.inference.model import Model
from retinal_lib.inference.opening import without_bars
from retinal_lib.train.examples import Example, steps_of

_NEAR = 50  # batches whose conversations are ranked by their length
_IGNORED = -100  # the label of a token that is not learned, as in transformers
_WEIGHTS = ("*.bin", "*.safetensors", "*.index.json", "*.pt")
_TOWER = ("vision_tower", "vision_model", "visual")  # what the vision tower is called in transformers


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. `lora` is the rank of the adapter, 0 to train all weights but the vision tower's; `noise` the
    share of what is asked whose tokens are others each time, so that a model without English does not hang on single words."""

    epochs: int
    learning_rate: float
    batch_size: int
    lora: int = 0
    seed: int = 0
    noise: float = 0.0


def train(
    model: Answerer,
    examples: Sequence[Example],
    recipe: Recipe,
    state: Path,
    out: Path,
    source: Path,
    told: Callable[[int, float], None] = lambda number, loss: None,
) -> list[float]:
    """Trains a model, whose files lie in `source`, writes it into the new folder `out` and returns the mean loss of each epoch.
    After each epoch all that is needed to go on is kept in the file `state`; where it is there, training goes on from it.
    `told` is called with the number of steps just done and the last loss. UserError: the loss is no number, or peft is
    missing."""
    network = prepare(model, recipe.lora, recipe.seed)
    learned = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    optimizer = torch.optim.AdamW(learned.values(), lr=recipe.learning_rate, weight_decay=0.01)
    steps = steps_of(len(examples), recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps * recipe.epochs)
    words = words_of(model) if recipe.noise else None
    losses = _resume(state, learned, optimizer, schedule, network.device)
    if losses:
        told(steps * len(losses), losses[-1])
    for epoch in range(len(losses), recipe.epochs):
        network.train()
        total = 0.0
        for rows in _batches(examples, recipe, epoch):
            batch = collate(model, [examples[i] for i in rows])
            batch = with_noise(batch, recipe.noise, words) if words is not None else batch
            loss = network(**batch).loss
            if not torch.isfinite(loss):
                raise UserError(f"the loss is {loss.item()} in epoch {epoch + 1}; pass a smaller learning_rate")
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learned.values(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
            told(1, loss.item())
        losses.append(total / len(examples))
        _keep(state, learned, optimizer, schedule, losses)
    network.eval()
    save(model, network, out, source)
    return losses


def _batches(examples: Sequence[Example], recipe: Recipe, epoch: int) -> Iterator[list[int]]:
    """The rows of each step; the same for the same seed and epoch, so that a resumed training sees what it would have seen.
    Conversations of like length are learned together, so that few tokens are filling."""
    order, drawn, size = list(range(len(examples))), random.Random(f"{recipe.seed} {epoch}"), recipe.batch_size
    drawn.shuffle(order)
    torch.manual_seed(recipe.seed * 1000 + epoch)
    near = size * _NEAR
    ranked = [i for at in range(0, len(order), near) for i in sorted(order[at : at + near], key=lambda i: examples[i].length)]
    batches = [ranked[at : at + size] for at in range(0, len(ranked), size)]
    drawn.shuffle(batches)
    yield from batches


def _resume(state: Path, learned: dict, optimizer: object, schedule: object, device: torch.device) -> list[float]:
    if not state.is_file():
        return []
    kept = torch.load(state, map_location=device, weights_only=True)
    with torch.no_grad():
        for name, weight in learned.items():
            weight.copy_(kept["weights"][name])
    optimizer.load_state_dict(kept["optimizer"])
    schedule.load_state_dict(kept["schedule"])
    return list(kept["losses"])


def _keep(state: Path, learned: dict, optimizer: object, schedule: object, losses: list[float]) -> None:
    """Writes the state whole or not at all, so that a killed training has the last one."""
    state.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.detach() for name, weight in learned.items()}
    kept = {"weights": weights, "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(), "losses": losses}
    part = state.with_suffix(".part")
    torch.save(kept, part)
    part.replace(state)


# --- models -------------------------------------------------------------------------------------------------------------


def network_of(model: Answerer) -> torch.nn.Module:
    """Returns the network within a model. UserError: it answers behind a server."""
    if isinstance(model, Model):
        return model.llava
    if isinstance(model, ImageTextModel):
        return model.network
    raise UserError("a model behind a server cannot be trained here; pass the folder of its weights")


def opened(given: object, base: Path) -> tuple[Answerer, Path]:
    """Opens the model that the parameters name, and returns it with the folder of its files; a LLaVA-v0 model that is to be
    trained whole is first converted into `base`. UserError: as in `load_model`."""
    source = typed_paths.resolve(given.model_name) if typed_paths.expand(given.model_name).is_dir() else given.model_name
    parts = {"vision_tower": given.vision_tower, "mm_projector": given.mm_projector}
    found = checkpoint.find(source, **parts)
    folder = found.folder
    if found.llava and not found.converted:
        folder, parts = base, {}
        if not base.is_dir():
            convert(source, base, given.vision_tower, given.mm_projector)
    # half precision of 16 bits cannot hold small gradients
    dtype = "bfloat16" if given.dtype == "auto" and memory.choose_device(given.device).type == "cuda" else given.dtype
    return load_model(folder, **parts, device=given.device, dtype=dtype), folder


def prepare(model: Answerer, lora: int, seed: int = 0) -> torch.nn.Module:
    """Says which weights are learned: all but the vision tower's, or those of a new adapter. UserError: peft is missing."""
    network = network_of(model)
    for name, weight in network.named_parameters():
        weight.requires_grad_(not any(part in name for part in _TOWER))
    if not lora:
        return network
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError as error:
        raise UserError("lora needs peft: python -m pip install peft; or leave lora out to train all weights") from error
    # the language model's linear layers alone: the tower and the projector keep their weights
    layers = "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj".split()
    targets = [
        name
        for name, _ in network.named_modules()
        if name.rpartition(".")[2] in layers and not any(part in name for part in _TOWER)
    ]
    torch.manual_seed(seed)
    config = LoraConfig(r=lora, lora_alpha=2 * lora, lora_dropout=0.05, target_modules=targets)
    return get_peft_model(network, config)


def save(model: Answerer, network: torch.nn.Module, folder: Path, source: Path) -> None:
    """Writes a trained model into `folder`, which `load_model` opens: an adapter, or all weights with the configs of `source`
    as they are. The folder appears when it is whole."""
    part = folder.with_name(f".{folder.name}-part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    if hasattr(network, "peft_config"):
        for config in network.peft_config.values():
            config.base_model_name_or_path = str(source)
        network.save_pretrained(part)
    else:
        with without_bars():
            network_of(model).save_pretrained(part)
        for file in source.iterdir():
            if file.is_file() and not any(file.match(pattern) for pattern in _WEIGHTS):
                shutil.copyfile(file, part / file.name)
    part.rename(folder)


# --- conversations as token ids -----------------------------------------------------------------------------------------


def encode(model: Answerer, example: Example) -> dict[str, torch.Tensor]:
    """Turns a conversation into what the network takes: token ids and labels [1, tokens], `_IGNORED` but for answers, and its
    image. UserError: the image cannot be read, or no token of an answer is left."""
    encoded = _encode_llava(model, example) if isinstance(model, Model) else _encode_chat(model, example)
    if (encoded["labels"] == _IGNORED).all():
        raise UserError(f"{example.id}: no token of an answer is left to learn")
    return encoded


def _encode_llava(model: Model, example: Example) -> dict[str, torch.Tensor]:
    """In the words of conversation form `simple`: what the model itself writes (its role, the answer, the stop) is learned."""
    questions, answers = example.questions, example.answers
    spans = []
    for turn in range(len(questions)):
        before = model.prompt(questions[: turn + 1], answers[:turn])
        spans.append(range(len(before), len(model.prompt(questions[: turn + 1], answers[: turn + 1]))))
    found = model.tokenizer.encode(model.prompt(questions, answers))
    labels = [
        token if any(start in span for span in spans) and end > start else _IGNORED
        for token, (start, end) in zip(found.ids, found.offsets, strict=True)
    ]
    pixels = torch.from_numpy(model.pixels(example.image))[None]
    return {"input_ids": torch.tensor([found.ids]), "labels": torch.tensor([labels]), "pixel_values": pixels}


def _encode_chat(model: ImageTextModel, example: Example) -> dict[str, torch.Tensor]:
    """In the model's own chat template; an answer is what a conversation has beyond its prompt."""
    messages, labels, whole = [], [], {}
    picture = load_upright(example.image, MAX_PIXELS)
    for turn, (question, answer) in enumerate(zip(example.questions, example.answers, strict=True)):
        messages.append(model.message(question, None if turn else picture))
        prompt = _template(model, messages, True)["input_ids"][0].tolist()
        messages.append(model.answer_message(answer))
        whole = _template(model, messages, False)
        ids = whole["input_ids"][0].tolist()
        if ids[: len(prompt)] != prompt:
            raise UserError(f"the chat template of {model.name} writes a conversation otherwise than its prompt")
        labels += [_IGNORED] * (len(prompt) - len(labels)) + ids[len(prompt) :]
    return {**whole, "labels": torch.tensor([labels])}


def _template(model: ImageTextModel, messages: list[dict], opened: bool) -> dict[str, torch.Tensor]:
    given = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    return model.processor.apply_chat_template([messages], add_generation_prompt=opened, **given)


def words_of(model: Answerer) -> torch.Tensor:
    """Returns the ids of a model's tokens that are no marks."""
    vocabulary = (model.tokenizer if isinstance(model, Model) else model.processor.tokenizer).get_vocab()
    return torch.tensor([i for piece, i in sorted(vocabulary.items()) if not piece.startswith("<")])


def with_noise(batch: dict[str, torch.Tensor], share: float, words: torch.Tensor) -> dict[str, torch.Tensor]:
    """Replaces a share of the tokens that are `words` and not learned by other words; images, marks and answers stay."""
    ids = batch["input_ids"]
    words = words.to(ids.device)
    others = words[torch.randint(len(words), ids.shape, device=ids.device)]
    replaced = (batch["labels"] == _IGNORED) & torch.isin(ids, words) & (torch.rand(ids.shape, device=ids.device) < share)
    return batch | {"input_ids": torch.where(replaced, others, ids)}


def collate(model: Answerer, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """Makes one batch of conversations, filled up on the right, on the model's device. UserError: as in `encode`."""
    network = network_of(model)
    rows = [encode(model, example) for example in examples]
    for row in rows:
        row["attention_mask"] = torch.ones_like(row["input_ids"])
    batch = {}
    for name, first in rows[0].items():
        parts = [row[name] for row in rows]
        if first.shape == rows[0]["input_ids"].shape:  # a number for each token
            longest = max(part.shape[1] for part in parts)
            fill = _IGNORED if name == "labels" else 0
            parts = [torch.nn.functional.pad(part, (0, longest - part.shape[1]), value=fill) for part in parts]
        batch[name] = torch.cat(parts)
        if batch[name].is_floating_point():
            batch[name] = batch[name].to(network.dtype)
    return {name: tensor.to(network.device) for name, tensor in batch.items()}
