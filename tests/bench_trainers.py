"""`python tests/bench_trainers.py`: trainers read the exports with their own code, and train a tiny model for two steps.

Which trainers: those installed here, or beside the Pythons that TRAINERS names, separated by blanks (they need versions that
do not fit together); others are skipped. A trial runs in a process of its own, by this file, so that only `main` imports
retinal_lib.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import chdir
from importlib.metadata import version
from pathlib import Path

OFFLINE = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "WANDB_MODE": "disabled", "DISABLE_VERSION_CHECK": "1"}
OFFLINE |= {"OMP_NUM_THREADS": "1"}
STEPS = {"max_steps": 2, "per_device_train_batch_size": 2, "logging_steps": 1, "use_cpu": True, "save_strategy": "no"}
IMAGE_TOKEN = "<image>"  # LLaMA-Factory and ms-swift know LLaVA by it; a converted RetinalGPT's is <im_patch>


# --- trials: each gets the folder of exports and returns what it saw -----------------------------------------------------


def datasets(folder: Path) -> str:
    """The library datasets reads each file, and opens its pictures."""
    from datasets import Image, load_dataset

    files, forms, pictures = 0, set(), 0
    for export in sorted(path for path in folder.iterdir() if path.is_dir() and (path / "sources.md").is_file()):
        for file in sorted(export.glob("train*")):
            kind = "parquet" if file.suffix == ".parquet" else "json"
            rows = load_dataset(kind, data_files=str(file), split="train", cache_dir=str(folder / "cache"))
            for row in rows:
                name = row["image"] if "image" in row else row["images"][0]
                assert Image().decode_example({"path": str(export / name), "bytes": None}).size[0] > 1
            files, forms, pictures = files + 1, forms | {export.name.partition("-")[2]}, pictures + len(rows)
    return f"{files} files of {len(forms)} forms with the pictures of {pictures} rows"


def trl(folder: Path) -> str:
    """TRL's SFTTrainer (the loss counts answers alone), DPOTrainer and KTOTrainer take two steps."""
    import torch
    from datasets import Image, List, load_dataset
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer

    processor, losses = AutoProcessor.from_pretrained(folder / "model"), []
    for name, trainer, config, more in (
        ("conversations-chat", SFTTrainer, SFTConfig, {"assistant_only_loss": True}),
        ("vqa-chat", SFTTrainer, SFTConfig, {"assistant_only_loss": True}),
        ("conversations-dpo", DPOTrainer, DPOConfig, {}),
        ("conversations-kto", KTOTrainer, KTOConfig, {}),
        ("vqa-dpo", DPOTrainer, DPOConfig, {}),
    ):
        file, cache = folder / name / "train.jsonl", str(folder / "cache")
        rows = load_dataset("json", data_files=str(file), split="train", cache_dir=cache)
        rows = rows.map(lambda row, at=file.parent: {"images": [str(at / image) for image in row["images"]]})
        rows = rows.cast_column("images", List(Image()))
        args = config(output_dir=str(folder / "out"), max_length=None, report_to=[], bf16=False, **STEPS, **more)
        model = AutoModelForImageTextToText.from_pretrained(folder / "model", dtype=torch.float32)
        trained = trainer(model=model, args=args, train_dataset=rows, processing_class=processor)
        if trainer is SFTTrainer:
            said = {_answers(row["messages"]) for row in rows}
            for batch in trained.get_train_dataloader():
                counted = (processor.tokenizer.decode(row[row != -100]) for row in batch["labels"])
                assert all(text in said for text in counted), "the loss counts other words than the answers"
        losses.append(f"{trainer.__name__} on {name} {trained.train().training_loss:.3f}")
    return "losses: " + ", ".join(losses)


def _answers(messages: list[dict]) -> str:
    """What a converted model's chat template marks as written by the model."""
    return "".join(f"Assistant: {m['content'][-1]['text'].strip()}###" for m in messages if m["role"] == "assistant")


def _llama_factory(name: str, stage: str, **more: str) -> Callable[[Path], str]:
    def trial(folder: Path) -> str:
        """LLaMA-Factory reads an export by its dataset_info.json and takes two steps."""
        from llamafactory.train.tuner import run_exp

        at, out = folder / name, folder / f"out-{name}"
        where = {"dataset": next(iter(json.loads((at / "dataset_info.json").read_bytes()))), "dataset_dir": at, "media_dir": at}
        model = {"model_name_or_path": folder / "image-model", "template": "llava", "finetuning_type": "full"}
        given = {key: str(value) for key, value in {**where, **model, "output_dir": out}.items()}
        steps = STEPS | {"report_to": "none", "disable_gradient_checkpointing": True, "preprocessing_num_workers": None}
        run_exp({"stage": stage, "do_train": True, **given, **steps, **more})
        return f"loss: {json.loads((out / 'train_results.json').read_bytes())['train_loss']:.3f}"

    return trial


def _ms_swift(name: str) -> Callable[[Path], str]:
    def trial(folder: Path) -> str:
        """ms-swift reads an export from within its folder and takes two steps."""
        from swift import SftArguments, sft_main

        with chdir(folder / name):
            model = {"model": str(folder / "image-model"), "model_type": "llava1_5_hf", "tuner_type": "full"}
            more = {"torch_dtype": "float32", "report_to": [], "eval_strategy": "no", "gradient_checkpointing": False}
            workers = {"dataloader_num_workers": 0, "dataset_num_proc": 1, "output_dir": str(folder / "out")}
            told = sft_main(SftArguments(dataset=[str(Path("train.jsonl").absolute())], **model, **more, **workers, **STEPS))
        return f"loss: {told['log_history'][-1]['train_loss']:.3f}"

    return trial


def llava(folder: Path) -> str:
    """LLaVA's own reader makes a sample of each entry, whose labels are its answers."""
    from llava import conversation
    from llava.train.train import DataArguments, LazySupervisedDataset
    from transformers import CLIPImageProcessor, LlamaTokenizer

    conversation.default_conversation = conversation.conv_templates["v1"]
    tokenizer = LlamaTokenizer.from_pretrained(folder / "drawn-model" / "checkpoint", model_max_length=4096, legacy=True)
    seen = []
    for name in ("conversations-llava", "lesions-llava", "vqa-llava"):
        args = DataArguments(image_folder=str(folder / name), is_multimodal=True)
        args.image_processor, args.mm_use_im_start_end = CLIPImageProcessor(), False
        read = LazySupervisedDataset(str(folder / name / "train.json"), tokenizer, args)
        for entry, sample in zip(read.list_data_dict, (read[number] for number in range(len(read))), strict=True):
            learned = tokenizer.decode([token for token in sample["labels"].tolist() if token >= 0])
            answers = "".join(f" {turn['value']}</s>" for turn in entry["conversations"][1::2])
            assert learned == answers, f"{learned!r} is learned, not {answers!r}"
            assert (sample["input_ids"] == -200).sum() == 1 and sample["image"].shape == (3, 224, 224)
        seen.append(f"{name} {len(read)}")
    return "samples: " + ", ".join(seen)


# name: (the package whose version is told, the module that is imported, the trial)
TRIALS: dict[str, tuple[str, str, Callable[[Path], str]]] = {
    "datasets": ("datasets", "datasets", datasets),
    "TRL": ("trl", "trl", trl),
    "LLaMA-Factory, sft": ("llamafactory", "llamafactory", _llama_factory("conversations-sharegpt", "sft")),
    "LLaMA-Factory, dpo": ("llamafactory", "llamafactory", _llama_factory("conversations-dpo", "dpo")),
    "LLaMA-Factory, orpo": ("llamafactory", "llamafactory", _llama_factory("conversations-orpo", "dpo", pref_loss="orpo")),
    "LLaMA-Factory, kto": ("llamafactory", "llamafactory", _llama_factory("conversations-kto", "kto")),
    "ms-swift, boxes": ("ms-swift", "swift", _ms_swift("lesions-ms-swift")),
    "ms-swift, closed questions": ("ms-swift", "swift", _ms_swift("vqa-ms-swift")),
    "LLaVA's reader": ("llava-torch", "llava", llava),
}


# --- the bench -------------------------------------------------------------------------------------------------------------


def make(folder: Path) -> None:
    """Writes exports of every form, called `<run>-<form>`, and two tiny models."""
    os.environ["RETINAL_LIB_ROOT"] = str(folder / "root")
    from retinal_lib import Job
    from retinal_lib.export.trainers import FORMS, export
    from retinal_lib.inference import convert
    from retinal_lib.sample import llava_model

    runs = {
        "conversations": {"dataset": "ODIR"},
        "lesions": {"dataset": "IDRiD_seg"},
        "vqa": {"dataset": "ODIR", "track": "vqa"},
    }
    for name, settings in runs.items():
        run = folder / "runs" / name
        Job.load(**settings, limit=8, out_dir=str(run)).run()
        for form, spec in FORMS.items():
            planted = "0.9" if spec.of != "conversation" else None
            export([run], form, folder / f"{name}-{form}", pictures="link", planted=planted)
    convert(str(llava_model.draw(folder / "drawn-model")), str(folder / "model"))
    shutil.copytree(folder / "model", folder / "image-model")
    for file in (folder / "image-model").glob("*.j*"):
        file.write_text(file.read_text(encoding="utf-8").replace("<im_patch>", IMAGE_TOKEN), encoding="utf-8")


def trial(name: str, folder: Path) -> tuple[str, bool]:
    """Runs a trial by the first Python that has its package; returns what to print, and whether it went wrong."""
    _, module, _ = TRIALS[name]
    finds = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    pythons = os.environ.get("TRAINERS", "").split() or [sys.executable]
    found = next((python for python in pythons if not subprocess.run([python, "-c", finds]).returncode), None)
    if found is None:
        return f"skipped: {TRIALS[name][0]} is not installed", False
    command = [found, __file__, name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | OFFLINE, cwd=folder)
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    return (f"FAILED: {lines[-1]}" if done.returncode else lines[-1]), bool(done.returncode)


def main() -> None:
    """Prints a line for each trial; fails where one does."""
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        print("exports, with the trainers' own code:")
        for name in TRIALS:
            told, wrong = trial(name, Path(folder))
            failed += [name] * wrong
            print(f"  {name}: {told}", flush=True)
    if failed:
        sys.exit(f"not read: {', '.join(failed)}")


def run_trial(name: str, folder: Path) -> None:
    """Runs a trial in this process and prints what came of it, last."""
    package, _, work = TRIALS[name]
    try:
        told = work(folder)
    except ImportError as error:
        told = f"skipped, since {error.name or error} cannot be imported beside it"
    print(f"\n{package} {version(package)}, transformers {version('transformers')}: {told}")


if __name__ == "__main__":
    run_trial(sys.argv[1], Path(sys.argv[2])) if len(sys.argv) == 3 else main()
