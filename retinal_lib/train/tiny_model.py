"""A tiny LLaVA for the trial: its vision tower learns the answers of closed questions as classes, before it is given words."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from retinal_lib.inference import load_model
from retinal_lib.inference.llava.convert import convert
from retinal_lib.inference.model import Model
from retinal_lib.sample import llava_model
from retinal_lib.sample.llava_model import Shape
from retinal_lib.train.examples import TOWER_BATCH, Example, tower_steps

Told = Callable[[int, float | None], None]  # called with the number of steps just done, and the last loss if it is known


def source(place: Path) -> Path:
    """Returns the folder of the model with random weights, whose configs the trained one keeps."""
    return place / "random"


def with_trained_tower(place: Path, examples: Sequence[Example], seed: int, epochs: int, told: Told) -> Model:
    """Returns the model with a trained vision tower; a tower that was trained before is kept in `place`."""
    model, file = make(place, examples, seed), place / "tower.pt"
    if not file.is_file():
        train_tower(model, examples, epochs, seed, told)
        part = file.with_suffix(".part")
        torch.save(model.llava.model.vision_tower.state_dict(), part)
        part.replace(file)
    else:
        told(tower_steps(examples, epochs), None)
    model.llava.model.vision_tower.load_state_dict(torch.load(file, weights_only=True))
    return model


def make(folder: Path, examples: Sequence[Example], seed: int) -> Model:
    """Draws a model with random weights, whose tokens are those of the examples, and returns it: half a million weights."""
    said = sorted({text for each in examples for text in (*each.questions, *each.answers)})
    words = "\n".join([*said, *[_FORM] * 20])  # so often that its words are tokens of their own
    tokens = min(700, 320 + len(set(words.split())))  # of few words fewer can be made
    shape = Shape(
        seed=seed, hidden=64, layers=2, heads=4, inner=160, clip=96, clip_layers=3, image=64, patch=8, vocab=tokens,
        tower="inside", dtype="float32", words=words,
    )  # fmt: skip
    drawn = llava_model.draw(folder / "drawn", shape)
    made = source(folder)
    model = load_model(made if made.is_dir() else convert(drawn, made), device="cpu")
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.llava.named_parameters():
            if weight.dim() > 1 and "position" not in name:
                weight.normal_(0, 0.02 if "embed" in name or "lm_head" in name else weight[0].numel() ** -0.5)
    return model


_FORM = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, and "
    "polite answers to the human's questions. ### Human: Hi! ### Assistant: Hi there!  How can I help you today?"
)


def train_tower(
    model: Model, examples: Sequence[Example], epochs: int, seed: int, told: Told, learning_rate: float = 2e-3
) -> list[float]:
    """Trains the vision tower on the classes of the examples and returns the loss of each epoch. What is learned from is what
    the language model will see: the patches of the selected layer. A mirrored picture shows the other eye."""
    torch.manual_seed(seed)
    pixels, targets, sizes = _classes(model, examples)
    tower, layer = model.llava.model.vision_tower, model.checkpoint.select_layer
    heads = torch.nn.Linear(tower.config.hidden_size, sum(sizes.values()))
    learned = [*tower.parameters(), *heads.parameters()]
    steps = tower_steps(examples, epochs)
    optimizer = torch.optim.AdamW(learned, lr=learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
    losses = []
    for _ in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(pixels)).split(TOWER_BATCH):
            seen, wanted = _varied(pixels[rows], {kind: target[rows] for kind, target in targets.items()})
            states = tower(seen, output_hidden_states=True).hidden_states[layer][:, 1:].mean(1)
            scores = heads(states).split(list(sizes.values()), 1)
            parts = [
                torch.nn.functional.cross_entropy(score, wanted[kind], ignore_index=-1)
                for kind, score in zip(sizes, scores, strict=True)
                if (wanted[kind] >= 0).any()
            ]
            loss = torch.stack(parts).sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learned, 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(rows)
            told(1, loss.item())
        losses.append(total / len(pixels))
    return losses


def _classes(model: Model, examples: Sequence[Example]) -> tuple[torch.Tensor, dict[str, torch.Tensor], dict[str, int]]:
    """The pictures [images, 3, height, width], the class of each by kind (-1: not known), and the number of classes."""
    known: dict[Path, dict[str, str]] = {}
    for each in examples:
        known.setdefault(each.image, {}).update(each.classes)
    images = [image for image, classes in known.items() if classes]
    pixels = torch.stack([torch.from_numpy(model.pixels(image)) for image in images])
    targets, sizes = {}, {}
    for kind in sorted({kind for classes in known.values() for kind in classes}):
        names = sorted({classes[kind] for classes in known.values() if kind in classes})
        sizes[kind] = len(names)
        targets[kind] = torch.tensor([names.index(known[i][kind]) if kind in known[i] else -1 for i in images])
    return pixels, targets, sizes


def _varied(pixels: torch.Tensor, targets: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Half of the pictures mirrored, which makes a left eye a right one, and half turned upside down, a little shifted."""
    mirrored, turned = torch.rand(len(pixels)) < 0.5, torch.rand(len(pixels)) < 0.5
    pixels = torch.where(mirrored[:, None, None, None], pixels.flip(3), pixels)
    pixels = torch.where(turned[:, None, None, None], pixels.flip(2), pixels)
    down, right = torch.randint(-3, 4, (2,)).tolist()
    pixels = pixels.roll((down, right), (2, 3))
    eye = targets.get("eye")
    if eye is not None:  # two classes, in the order of their names
        targets = targets | {"eye": torch.where((eye >= 0) & mirrored, 1 - eye, eye)}
    return pixels, targets
