"""Training: what is learned of a conversation, a stopped training that goes on, a trained model that opens again."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import joblib
import torch
from PIL import Image

from retinal_lib import display
from retinal_lib.errors import UserError
from retinal_lib.inference import load_model
from retinal_lib.inference.llava.convert import convert
from retinal_lib.run.job import Job
from retinal_lib.sample import llava_model as sample_model
from retinal_lib.train import examples, loop, tiny_model, training
from retinal_lib.train.examples import Example
from retinal_lib.train.training import Training

RECIPE = loop.Recipe(epochs=2, learning_rate=1e-2, batch_size=2, seed=5, noise=0.2)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model in the form of transformers."""
    folder = tmp_path_factory.mktemp("model")
    return convert(sample_model.draw(folder / "drawn", sample_model.Shape(layers=1, dtype="float32")), folder / "converted")


@pytest.fixture
def learned(tmp_path: Path) -> list[Example]:
    for i in range(3):
        Image.new("RGB", (60, 60), (80 * i, 40, 10)).save(tmp_path / f"{i}.png")
    return [Example(f"{i}", tmp_path / f"{i}.png", ("Which eye?", "Why?"), (f"Grade {i}.", "It looks so.")) for i in range(3)]


def test_the_answers_alone_are_learned(source: Path, learned: list[Example]) -> None:
    model = load_model(source, device="cpu")
    encoded = loop.encode(model, learned[1])
    prompt = model.ids(model.prompt(learned[1].questions[:1]))
    ids, labels = (encoded[name][0].tolist() for name in ("input_ids", "labels"))
    assert ids[: len(prompt)] == prompt and set(labels[: len(prompt)]) == {-100}
    said = model.tokenizer.decode([i for i in labels if i >= 0])
    assert said == "Assistant: Grade 1.###Assistant: It looks so.###"


def test_noise_replaces_what_is_asked_and_nothing_else(source: Path, learned: list[Example]) -> None:
    model = load_model(source, device="cpu")
    network, batch = loop.network_of(model), loop.collate(model, learned)
    torch.manual_seed(0)
    plain = loop.words_of(model)
    noisy = loop.with_noise(batch, 0.5, plain)
    ids, seen, answers = batch["input_ids"], noisy["input_ids"], batch["labels"] >= 0
    marks = torch.tensor([i for piece, i in model.tokenizer.get_vocab().items() if piece.startswith("<")])
    words = ~torch.isin(ids, marks) & ~answers
    assert (ids == network.config.image_token_id).any() and seen[~words].equal(ids[~words])
    assert 0.4 < (seen != ids)[words].float().mean() < 0.6 and noisy["labels"].equal(batch["labels"])
    assert loop.with_noise(batch, 0.0, plain)["input_ids"].equal(ids) and torch.isfinite(network(**noisy).loss)


def test_a_stopped_training_ends_as_one_that_was_not(
    source: Path, learned: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(place: Path) -> list[float]:
        return loop.train(load_model(source, device="cpu"), learned, RECIPE, place / "state.pt", place / "model", source)

    whole = train(tmp_path / "whole")
    steps, collate = [], loop.collate

    def stopped(*given: object) -> dict[str, torch.Tensor]:
        steps.append(1)
        if len(steps) == 4:  # in the second epoch
            raise KeyboardInterrupt
        return collate(*given)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "collate", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "model").exists()
    assert train(tmp_path / "stopped") == pytest.approx(whole) and whole[1] < whole[0]
    one, other = (load_model(tmp_path / name / "model", device="cpu") for name in ("whole", "stopped"))
    first = load_model(source, device="cpu")
    prompt, image = one.prompt(["Which eye?"]), learned[0].image
    assert torch.allclose(one.logits(prompt, image), other.logits(prompt, image), atol=1e-5)
    assert not torch.allclose(one.logits(prompt, image), first.logits(prompt, image), atol=1e-2)
    kept = {name: weight for name, weight in one.llava.state_dict().items() if "vision_tower" in name}
    assert kept and all(torch.equal(weight, first.llava.state_dict()[name]) for name, weight in kept.items())


def test_a_mirrored_picture_shows_the_other_eye() -> None:
    torch.manual_seed(0)
    pixels = torch.zeros(40, 3, 32, 32)
    pixels[..., 22:26] = 1  # the disc of a right eye
    seen, targets = tiny_model._varied(pixels, {"eye": torch.ones(40, dtype=torch.long), "grade": torch.arange(40)})
    is_right = seen[..., 16:].sum((1, 2, 3)) > seen[..., :16].sum((1, 2, 3))
    assert targets["eye"].bool().equal(is_right) and 0 < is_right.sum() < 40
    assert targets["grade"].equal(torch.arange(40))


def test_wrong_labels_are_those_of_other_images(learned: list[Example]) -> None:
    many = [Example(f"{i}", Path(f"{i // 2}.png"), ("?",), (f"{i}",)) for i in range(40)]
    wrong = examples.with_wrong_labels(many, 0.3, 0)
    assert {a.image for a in wrong} == {a.image for a in many}
    assert sum(a.image != b.image for a, b in zip(many, wrong, strict=True)) == 12  # two conversations of 6 images
    assert [a.answers for a in wrong] == [a.answers for a in many]


def _said(*turns: str, image: str = "0.png") -> dict:
    """An entry of turns such as `human: Why?`."""
    parts = [turn.partition(": ") for turn in turns]
    return {"image": image, "conversations": [{"from": role, "value": text} for role, _, text in parts]}


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (_said("human: Why?"), "entry 1: expected .image."),
        (_said("gpt: a", "human: b"), "in turn"),
        (_said("human: <image>", "gpt: b"), "is empty"),
        (_said("human: a", "gpt: b", image="no.png"), "no.png; pass"),
    ],
)
def test_an_entry_that_cannot_be_learned_is_one_sentence(
    entry: dict, said: str, learned: list[Example], tmp_path: Path
) -> None:
    (tmp_path / "export.json").write_text(json.dumps([entry]), encoding="utf-8")
    with pytest.raises(UserError, match=said):
        examples.read(tmp_path / "export.json")


def test_a_model_of_one_s_own_learns_an_export(source: Path, learned: list[Example], tmp_path: Path) -> None:
    rows = [_said("human: Which eye?\n<image>", "gpt: Left.", image=each.image.name) for each in learned]
    (tmp_path / "export.json").write_text(json.dumps(rows), encoding="utf-8")
    given = {
        "data": tmp_path / "export.json",
        "model_name": str(source),
        "epochs": 1,
        "device": "cpu",
        "out_dir": tmp_path / "t",
    }
    job = Training.load(**given, seeds="3,4")
    assert list(job.train()["model"]) == ["seed 3", "seed 4"]
    assert load_model(tmp_path / "t" / "seed-4" / "model", device="cpu").ask(learned[0].image, "Which eye?", max_new_tokens=2)
    with pytest.raises(UserError, match=r"a training with other epochs; pass another out_dir"):
        Training.load(**given | {"epochs": 2})
    with pytest.raises(UserError, match="data needs a model_name"):
        Training.load(data=tmp_path / "export.json")
    with pytest.raises(UserError, match="drawn ones"):
        job.report()
    assert job.next_step == "retinal infer model_name='<out_dir>/seed-3/model'"


def test_a_start_that_trained_nothing_is_no_obstacle(learned: list[Example], tmp_path: Path) -> None:
    model = sample_model.draw(tmp_path / "drawn", sample_model.Shape(layers=1, dtype="float32"))
    rows = [_said("human: Which eye?", "gpt: Left.", image=each.image.name) for each in learned]
    (tmp_path / "export.json").write_text(json.dumps(rows), encoding="utf-8")
    given = {"data": tmp_path / "export.json", "model_name": str(model), "device": "cpu", "out_dir": tmp_path / "t"}
    with pytest.raises(UserError, match="nowhere"):
        Training.load(**given, vision_tower=str(tmp_path / "nowhere"), epochs=2).train()
    (tmp_path / "t" / "base").mkdir()  # as a start with another tower may leave it
    assert list(Training.load(**given, epochs=1).train()["model"]) == ["seed 0"]
    assert (tmp_path / "t" / "base" / "config.json").is_file()


def test_the_folder_of_a_run_is_learned_with_its_pictures(tmp_path: Path) -> None:
    job = Job.load(dataset="ODIR", out_dir=tmp_path / "run", limit=2)
    job.run().require()
    files = [job.data.image(name).path for name in job.images]
    assert [each.image for each in examples.read(tmp_path / "run")] == files
    (tmp_path / "moved" / "ODIR").mkdir(parents=True)
    for file, there in zip(files, (1, 2), strict=True):
        copied = Path(shutil.copy(file, tmp_path / "moved" / "ODIR"))
        if there == 1:
            with pytest.raises(UserError, match=r"1 of 2 pictures .*; name the folder of the dataset with image_folder"):
                examples.read(tmp_path / "run", tmp_path / "moved")
    assert examples.read(tmp_path / "run", tmp_path / "moved")[1].image == copied


def test_processes_share_one_bar_and_show_none_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr(display.Bar, "show", lambda bar, done, note="": shown.append((done, note)))
    with display.shared_bar(7, "steps", 2) as step:
        joblib.Parallel(n_jobs=2)(joblib.delayed(step)(number, "a note") for number in (1, 2, 4))
        disabled = joblib.Parallel(n_jobs=2)(joblib.delayed(lambda: display.Bar(1, "steps").disable)() for _ in range(2))
    assert shown[-1] == (7, "") and disabled == [True, True] and not display.Bar(1, "steps").disable


def test_one_bar_counts_the_steps_of_all_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []

    @contextmanager
    def bar(total: int, unit: str, processes: int) -> Iterator[Callable[[int, str], None]]:
        done = []
        yield lambda number, note: done.append(number)
        counted.append((total, unit, processes, sum(done)))

    monkeypatch.setattr(training, "shared_bar", bar)
    given = {"limit": 40, "held_out": 4, "kinds": "eye", "tower_epochs": 3, "epochs": 2, "short": True}
    job = Training.load(**given, out_dir=tmp_path / "trial")
    job.train()
    job.train()  # nothing is left to do
    steps = 2 * (3 * 2 + 2 * 11)  # of 40 eyes and 44 conversations
    assert counted == [(steps, "steps of 2 models", 1, steps)] * 2


def test_drawn_eyes_are_asked_what_is_named(tmp_path: Path) -> None:
    given = {"limit": 4, "held_out": 4, "seeds": 0, "out_dir": str(tmp_path / "trial")}
    job = Training.load(**given, kinds="eye", tower_epochs=2)
    assert {kind for each in job.examples for kind in each.classes} == {"eye"}
    with pytest.raises(UserError, match=r"kinds: .*expected some of eye, quality, grade"):
        Training.load(**given, kinds="eye, age")
    (tmp_path / "trial" / "seed-0" / "random").mkdir(parents=True)  # is made before anything is trained
    Training.load(**given, kinds="eye,grade", tower_epochs=3)
    assert not (tmp_path / "trial" / "seed-0").exists()
    Training.load(**given, kinds="eye", tower_epochs=2)
    (tmp_path / "trial" / "seed-0").mkdir()
    (tmp_path / "trial" / "seed-0" / "tower.pt").touch()
    with pytest.raises(UserError, match="training with other kinds, tower_epochs, conversations; pass another out_dir"):
        Training.load(**given, kinds="eye,grade")
    model = tiny_model.make(tmp_path / "tiny", job.examples, 0)  # of so few words that there are fewer tokens
    assert model.answer([job.examples[0].questions[0]], [job.examples[0].image], max_new_tokens=2)
