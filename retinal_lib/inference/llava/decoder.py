"""LLaMA's forward pass over rows of different lengths, with room for keys and values that is kept across turns.

The layers are those of transformers' own classes; what is ours is the order of work: rows are padded on the left, what a row
no longer needs is masked, not moved, and each step writes into room that was set aside.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

Pick = Callable[[torch.Tensor], torch.Tensor]  # logits [rows, words] to ids [rows]


class Room:
    """Keys and values of some rows: per layer [rows, heads, capacity, size]; `valid` [rows, length] says which count."""

    def __init__(self, rows: int, layers: int):
        self.keys: list[torch.Tensor | None] = [None] * layers
        self.values: list[torch.Tensor | None] = [None] * layers
        self.valid = torch.zeros(rows, 0, dtype=torch.bool)
        self.length = 0

    def reserve(self, columns: int) -> None:
        """Makes room for that many columns more. What no row needs any more is given up."""
        used = self.valid.any(0)
        kept = used.nonzero()[:, 0] if not bool(used.all()) else None
        self.valid = self.valid if kept is None else self.valid[:, kept]
        old, self.length = self.length, self.valid.shape[1]
        for held in (self.keys, self.values):
            for i, tensor in enumerate(held):
                if tensor is None:
                    continue
                part = tensor[:, :, :old]
                part = part if kept is None else part[:, :, kept.to(part.device)]
                if kept is None and tensor.shape[2] >= old + columns:
                    continue
                held[i] = tensor.new_zeros(*tensor.shape[:2], self.length + columns, tensor.shape[3])
                held[i][:, :, : self.length] = part
        self.columns = self.length + columns

    def put(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Adds new columns and returns all."""
        start, end = self.length, self.length + keys.shape[2]
        for held, new in ((self.keys, keys), (self.values, values)):
            if held[layer] is None:
                held[layer] = new.new_zeros(*new.shape[:2], self.columns, new.shape[3])
            held[layer][:, :, start:end] = new
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def choose(self, rows: Sequence[int]) -> None:
        """Keeps only these rows."""
        chosen = torch.tensor(rows)
        self.valid = self.valid[chosen]
        for held in (self.keys, self.values):
            for i, tensor in enumerate(held):
                held[i] = None if tensor is None else tensor[chosen.to(tensor.device)]


@dataclass
class Row:
    """One conversation in the room: the ids that its valid columns hold, and its image's features [patches, hidden]."""

    ids: list[int]
    features: torch.Tensor | None


class Decoder:
    """The language part of a stock Llava model."""

    def __init__(self, llava, image_id: int, pad: int):
        inner = llava.model.language_model
        self.layers, self.norm, self.head = inner.layers, inner.norm, llava.lm_head
        self.embed, self.rotary = inner.embed_tokens, inner.rotary_emb
        self.image_id, self.pad = image_id, pad
        first = self.layers[0].self_attn
        self.size = first.head_dim
        self.scale = self.size**-0.5

    @property
    def device(self) -> torch.device:
        """Where the work is done."""
        return self.embed.weight.device

    def room(self, rows: int) -> Room:
        """An empty room."""
        return Room(rows, len(self.layers))

    @torch.inference_mode()
    def forward(self, hidden: torch.Tensor, new: torch.Tensor, room: Room) -> torch.Tensor:
        """The last layer's output [rows, columns, hidden] for new embedded columns, of which `new` [rows, columns] count."""
        columns = new.shape[1]
        valid = torch.cat([room.valid, new], 1)
        positions = (valid.cumsum(1)[:, -columns:] - 1).clamp(min=0)
        mask = self._mask(valid, columns).to(hidden.device)
        cos, sin = self.rotary(hidden, position_ids=positions.to(hidden.device))
        cos, sin = cos[:, None], sin[:, None]
        for i, layer in enumerate(self.layers):
            attended = self._attend(layer.self_attn, layer.input_layernorm(hidden), cos, sin, mask, room, i)
            hidden = hidden + attended
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        room.valid, room.length = valid, room.length + columns
        return self.norm(hidden)

    def _mask(self, valid: torch.Tensor, columns: int) -> torch.Tensor:
        """bool [rows, 1, columns, all]: what each new column looks at; a column that does not count looks at itself."""
        total = valid.shape[1]
        if columns == 1:
            return valid[:, None, None, :]
        order = torch.ones(columns, total, dtype=torch.bool).tril(total - columns)
        own = torch.eye(columns, dtype=torch.bool)
        mask = order & valid[:, None, :]
        mask[:, :, total - columns :] |= own
        return mask[:, None]

    def _attend(self, attention, hidden, cos, sin, mask, room: Room, layer: int) -> torch.Tensor:
        rows, columns, _ = hidden.shape
        shape = (rows, columns, -1, self.size)
        queries = _turned(attention.q_proj(hidden).view(shape).transpose(1, 2), cos, sin)
        keys = _turned(attention.k_proj(hidden).view(shape).transpose(1, 2), cos, sin)
        values = attention.v_proj(hidden).view(shape).transpose(1, 2)
        keys, values = room.put(layer, keys, values)
        if (times := queries.shape[1] // keys.shape[1]) > 1:
            keys, values = keys.repeat_interleave(times, 1), values.repeat_interleave(times, 1)
        seen = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=self.scale)
        return attention.o_proj(seen.transpose(1, 2).reshape(rows, columns, -1))

    def enter(self, room: Room, rows: Sequence[Row], prompts: Sequence[list[int]], more: int) -> torch.Tensor:
        """Brings each row to its prompt, keeping the columns that it shares with it, and makes room for `more` columns.

        Returns the output [rows, columns, hidden]; a row's last column is its prompt's last token."""
        kept = [_shared(row.ids, ids) for row, ids in zip(rows, prompts, strict=True)]
        if room.length:
            room.valid = room.valid & (room.valid.cumsum(1) <= torch.tensor(kept)[:, None])
        parts = [ids[count:] for ids, count in zip(prompts, kept, strict=True)]
        columns = max(map(len, parts))
        room.reserve(columns + more)
        new = torch.tensor([[False] * (columns - len(p)) + [True] * len(p) for p in parts])
        ids = torch.tensor([[self.pad] * (columns - len(p)) + p for p in parts])
        hidden = self.embedded(ids, [self._unseen(*entry) for entry in zip(rows, prompts, kept, strict=True)])
        for row, prompt in zip(rows, prompts, strict=True):
            row.ids = list(prompt)
        return self.forward(hidden, new, room)

    def _unseen(self, row: Row, prompt: list[int], kept: int) -> torch.Tensor | None:
        """The features for the image tokens behind the kept ones."""
        if row.features is None:
            return None
        before, total = prompt[:kept].count(self.image_id), prompt.count(self.image_id)
        if total != len(row.features):
            raise ValueError(f"the prompt has {total} image tokens, the image {len(row.features)} features")
        return row.features[before:]

    @torch.inference_mode()
    def embedded(self, ids: torch.Tensor, features: Sequence[torch.Tensor | None]) -> torch.Tensor:
        """Ids [rows, columns] as vectors, with the images' features in their places."""
        hidden = self.embed(ids.to(self.device))
        places = ids == self.image_id
        if places.any():
            found = torch.cat([part for part in features if part is not None])
            hidden[places.to(self.device)] = found.to(hidden)
        return hidden

    @torch.inference_mode()
    def go_on(
        self, room: Room, rows: Sequence[Row], output: torch.Tensor, most: int, pick: Pick, ended: Callable[[list[int]], bool]
    ) -> list[list[int]]:
        """Writes up to `most` ids for each row, until `ended(its new ids)`; each row stops by itself."""
        written: list[list[int]] = [[] for _ in rows]
        active = [True] * len(rows)
        last = output[:, -1]
        for step in range(most):
            chosen = pick(self.head(last)).tolist()
            for i, token in enumerate(chosen):
                if active[i]:
                    written[i].append(token)
                    active[i] = not ended(written[i])
            if not any(active) or step == most - 1:
                break
            ids = torch.tensor([[token] for token in chosen])
            last = self.forward(self.embed(ids.to(self.device)), torch.tensor(active)[:, None], room)[:, -1]
            for row, token, goes_on in zip(rows, chosen, active, strict=True):
                if goes_on:
                    row.ids.append(token)
        return written


def _turned(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions: the halves of each head turned by the angles."""
    first, second = heads.chunk(2, dim=-1)
    return heads * cos + torch.cat((-second, first), dim=-1) * sin


def _shared(held: list[int], wanted: list[int]) -> int:
    """How many ids at the start are the same; at least one of the wanted is left to be read."""
    most = min(len(held), len(wanted) - 1)
    return next((i for i in range(most) if held[i] != wanted[i]), most)
