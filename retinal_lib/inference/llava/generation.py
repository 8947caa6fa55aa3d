"""Conversations continued side by side by transformers' own `generate`; keys and values are kept from turn to turn."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import signature

import torch
from torch.nn import functional
from transformers import (
    LlavaForConditionalGeneration,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.cache_utils import Cache, DynamicLayer

from retinal_lib.files import sha256

# the argument of `generate` that takes a cache was renamed within transformers 5
_CACHE = "cache" if "cache" in signature(LlavaForConditionalGeneration.forward).parameters else "past_key_values"
_TOP = 50  # tokens that sampling chooses from, as in the released script


class PreallocatedLayer(DynamicLayer):
    """Keys and values [rows, heads, columns, size] of one layer, in memory that is allocated once a turn.

    `DynamicLayer` copies them all for each new token, which makes answering a question file 1.4 to 1.6 times as slow.
    """

    def __init__(self):
        super().__init__()
        self.capacity = 0  # columns
        self._memory: tuple[torch.Tensor, ...] = ()

    def reserve(self, capacity: int, rows: torch.Tensor, columns: torch.Tensor) -> None:
        """Keeps only the given rows and columns, in memory for `capacity` columns."""
        self.capacity = capacity
        if self.is_initialized:
            self.is_initialized = False
            self.update(*(states[rows][:, :, columns] for states in (self.keys, self.values)))

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **options: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Adds columns [rows, heads, new, size] and returns all keys and values."""
        added = key_states, value_states
        if not self.is_initialized:
            self.lazy_initialization(*added)
            self._memory = tuple(new.new_empty(*new.shape[:2], self.capacity, new.shape[3]) for new in added)
        start = self.get_seq_length()
        end = start + key_states.shape[2]
        for memory, new in zip(self._memory, added, strict=True):
            memory[:, :, start:end] = new
        self.keys, self.values = (memory[:, :, :end] for memory in self._memory)
        return self.keys, self.values


class Sampler(LogitsProcessor):
    """Draws each row's next token with a generator of its own, so that an answer does not depend on its batch."""

    def __init__(self, temperature: float, seeds: Sequence[int]):
        self._temperature = temperature
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    @classmethod
    def of(cls, temperature: float, seed: int, rows: Iterable[tuple[object, ...]]) -> "Sampler":
        """Makes the sampler of a batch, for a seed and what tells its rows from others."""
        return cls(temperature, [int(sha256(repr((seed, *row)))[:14], 16) for row in rows])

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores [rows, vocabulary] that leave only the token drawn."""
        values, tokens = (scores.float().cpu() / self._temperature).topk(min(_TOP, scores.shape[-1]), dim=-1)
        shares = values.softmax(-1)
        drawn = [torch.multinomial(row, 1, generator=g) for row, g in zip(shares, self._generators, strict=True)]
        chosen = tokens.gather(1, torch.stack(drawn)).to(scores.device)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen, 0.0)


class StopEachRow(StoppingCriteria):
    """Stops each row by itself; `lengths` says after how many tokens, 0 where it has not stopped."""

    def __init__(self, has_ended: Callable[[list[int]], bool], rows: int):
        self._has_ended, self.lengths = has_ended, [0] * rows

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **options: object) -> torch.Tensor:
        """bool [rows]: which rows have stopped, given the tokens [rows, tokens] written so far."""
        for row, ids in enumerate(input_ids.tolist()):
            if not self.lengths[row] and self._has_ended(ids):
                self.lengths[row] = len(ids)
        return torch.tensor([length > 0 for length in self.lengths], device=input_ids.device)


class Conversations:
    """Conversations about one image each, numbered from 0, whose turns are generated together.

    Rows are padded on the left, and columns that a row does not use are masked, so that prompts of any length go together.
    """

    def __init__(self, llava: LlavaForConditionalGeneration, features: Sequence[torch.Tensor], pad_id: int):
        self._llava, self._features, self._pad_id = llava, list(features), pad_id
        self._image_id = llava.config.image_token_id
        self._ids: dict[int, list[int]] = {number: [] for number in range(len(features))}  # the tokens in each row's columns
        self._used = torch.zeros(len(features), 0, dtype=torch.bool)  # [rows, columns]: which columns a row uses
        self._cache = Cache(layers=[PreallocatedLayer() for _ in range(llava.config.text_config.num_hidden_layers)])

    @torch.inference_mode()
    def generate(
        self,
        prompts: Mapping[int, list[int]],
        max_new_tokens: int,
        has_ended: Callable[[list[int]], bool],
        sampler: Sampler | None = None,
    ) -> dict[int, list[int]]:
        """The ids written after each prompt until `has_ended` says so of them, by number; greedy without a sampler.

        A prompt holds its whole conversation so far; what it shares with the last turn is not computed again.
        Conversations without a prompt have ended and are dropped.
        """
        unread, used = self._reserve(prompts, max_new_tokens)
        width = max(map(len, unread.values()))
        ids = torch.tensor([[self._pad_id] * (width - len(part)) + part for part in unread.values()])
        images = {number: part.count(self._image_id) for number, part in unread.items()}  # image tokens not read yet
        features = [self._features[number][-count:] for number, count in images.items() if count]
        stop = StopEachRow(has_ended, len(prompts))
        rows = self._llava.generate(
            inputs_embeds=functional.pad(embed(self._llava, ids, features), (0, 0, used.shape[1] - width, 0)),
            attention_mask=used.long().to(self._llava.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=self._pad_id,
            stopping_criteria=StoppingCriteriaList([stop]),
            logits_processor=LogitsProcessorList([sampler] if sampler else []),
            **{_CACHE: self._cache},
        ).tolist()
        written = [row[: length or None] for row, length in zip(rows, stop.lengths, strict=True)]
        self._ids = {number: prompt + ids[:-1] for (number, prompt), ids in zip(prompts.items(), written, strict=True)}
        read = torch.arange(self._cache.get_seq_length() - used.shape[1]) < torch.tensor([[len(ids) - 1] for ids in written])
        self._used = torch.cat([used, read], 1)
        return dict(zip(prompts, written, strict=True))

    def _reserve(self, prompts: Mapping[int, list[int]], max_new_tokens: int) -> tuple[dict[int, list[int]], torch.Tensor]:
        """What is not read yet of each prompt, and bool [rows, columns]: which columns each row then uses.

        Columns that no row needs are given up, and memory is allocated for the rest of the turn."""
        kept = {number: _shared(self._ids[number], prompt) for number, prompt in prompts.items()}
        rows = torch.tensor([list(self._ids).index(number) for number in prompts])
        used = self._used[rows]
        used &= used.cumsum(1) <= torch.tensor(list(kept.values()))[:, None]
        columns = used.any(0).nonzero()[:, 0]
        unread = {number: prompt[kept[number] :] for number, prompt in prompts.items()}
        width = max(map(len, unread.values()))
        new = torch.arange(width) >= torch.tensor([[width - len(part)] for part in unread.values()])
        used = torch.cat([used[:, columns], new], 1)
        for layer in self._cache.layers:
            layer.reserve(used.shape[1] + max_new_tokens, rows, columns)
        return unread, used


def embed(llava: LlavaForConditionalGeneration, ids: torch.Tensor, features: Sequence[torch.Tensor]) -> torch.Tensor:
    """Token ids [rows, columns] as vectors [rows, columns, hidden]; image tokens become the features [patches, hidden]."""
    ids = ids.to(llava.device)
    hidden = llava.get_input_embeddings()(ids)
    if (images := ids == llava.config.image_token_id).any():
        hidden[images] = torch.cat(list(features)).to(hidden)
    return hidden


def _shared(ids: list[int], prompt: list[int]) -> int:
    """How many ids at the start are the same; at least one of the prompt is left to be read."""
    most = min(len(ids), len(prompt) - 1)
    return next((i for i in range(most) if ids[i] != prompt[i]), most)
