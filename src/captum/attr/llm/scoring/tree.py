"""Many prompts as one tree: what two of them share at the start is in it once.

Nodes are tokens in the order of a walk: a node's subtree is the nodes up to its `end`, so node i
is before node j on a path iff i <= j < end[i]. A model runs over the walk a chunk at a time, with
that as its mask and the depth as the position; of what it has computed, only the keys and values
of the path to the next chunk are kept. A prompt that was run alone is a trunk: where later trees
grow along it, its part is not run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum.attr.llm.scores import PerToken
from captum.attr.llm.scoring.budget import Budget
from captum.attr.llm.scoring.language_model import LanguageModel
from captum.attr.llm.tokens import Ids


@dataclass(frozen=True)
class Tree:
    """The walk over K prompts, each followed by the target: tokens, depths and ends (M,)."""

    tokens: Ids
    depth: Ids
    end: Ids
    before: Ids  # (K, T): the node in front of every token of the target
    order: list[int]  # the prompts, in the order of the walk
    start: int  # nodes in front that the trunk knows

    def __len__(self) -> int:
        """Nodes to run."""
        return len(self.tokens) - self.start


@dataclass
class Trunk:
    """A row that was run: its tokens, and the keys and values (1, H, n, D) of every layer."""

    tokens: Ids = field(default_factory=lambda: np.zeros(0, np.int64))
    layers: list[tuple[Tensor, Tensor]] = field(default_factory=list)


def grow(prompts: Sequence[Ids], target: Ids, trunk: Ids) -> Tree:
    """The tree of all prompts, each followed by the target but its last token.

    The walk begins with what is farthest along the trunk.
    """
    rows = [np.concatenate([prompt, target[:-1]]) for prompt in prompts]
    along = [_shared(row, trunk) for row in rows]

    def place(i: int) -> bytes:
        key = rows[i] + 1
        key[: along[i]] = 0
        return key.astype(">u4").tobytes()

    order = sorted(range(len(rows)), key=place)
    tokens: list[Ids] = []
    depths: list[Ids] = []
    ends = np.zeros(sum(map(len, rows)), np.int64)
    before = np.zeros((len(rows), len(target)), np.int64)
    path, last, count = np.zeros(0, np.int64), np.zeros(0, np.int64), 0
    for i in order:
        row = rows[i]
        shared = _shared(last, row)
        ends[path[shared:]] = count
        new = np.arange(count, count + len(row) - shared)
        tokens.append(row[shared:])
        depths.append(np.arange(shared, len(row)))
        path = np.concatenate([path[:shared], new])
        before[i] = path[len(prompts[i]) - 1 :]
        last, count = row, count + len(new)
    ends[path] = count
    known = min(along[order[0]], int(before.min()))
    return Tree(np.concatenate(tokens), np.concatenate(depths), ends[:count], before, order, known)


def _shared(a: Ids, b: Ids) -> int:
    """How many tokens two rows have in common at the start."""
    length = min(len(a), len(b))
    other = np.flatnonzero(a[:length] != b[:length])
    return int(other[0]) if len(other) else length


@torch.inference_mode()
def run(
    model: LanguageModel, tree: Tree, trunk: Trunk, target: Ids, read: PerToken, budget: Budget
) -> Tensor:
    """What `read` makes of the target's tokens after each prompt, (K, T).

    A single prompt becomes the trunk.
    """
    device, count = model.device, len(tree.tokens)
    passes = -(-len(tree) // budget.nodes)
    chunk = -(-len(tree) // passes)  # alike, rather than a small one at the end
    nodes = tree.before.ravel()
    by_node = nodes.argsort(kind="stable")
    wanted = np.tile(target, len(tree.before))
    found = torch.empty(len(nodes), dtype=model.precision)
    path = _Path(model, tree, trunk, device)
    for start in range(tree.start, count, chunk):
        stop = min(count, start + chunk)
        mine = by_node[slice(*np.searchsorted(nodes[by_node], (start, stop)))]
        at, place = np.unique(nodes[mine] - start, return_inverse=True)
        keep = torch.from_numpy(at if len(at) else np.zeros(1, np.int64)).to(device)
        logits = path.follow(start, stop, keep)
        if len(mine):
            rows = logits[0, torch.from_numpy(place).to(logits.device)]
            tokens = torch.from_numpy(wanted[mine]).to(logits.device)
            found[torch.from_numpy(mine)] = read(rows, tokens).to(model.precision).cpu()
    if len(tree.order) == 1:
        trunk.tokens, trunk.layers = tree.tokens, path.layers
    return found.view(tree.before.shape)


class _Path:
    """The keys and values of the nodes from the root to where the walk stands."""

    def __init__(
        self, model: LanguageModel, tree: Tree, trunk: Trunk, device: torch.device
    ) -> None:
        self.model, self.tree, self.device = model, tree, device
        size = int(tree.depth.max()) + 1
        self.nodes = np.full(size, -1)  # the last node seen at each depth
        self.nodes[: tree.start] = np.arange(tree.start)
        self.depth, self.ends = (torch.from_numpy(x).to(device) for x in (tree.depth, tree.end))
        self.layers: list[tuple[Tensor, Tensor]] = []
        if tree.start:
            self.layers = [
                (_room(k, size, tree.start), _room(v, size, tree.start)) for k, v in trunk.layers
            ]
        self.window = _window(model.config)

    def follow(self, start: int, stop: int, keep: Tensor) -> Tensor:
        """The logits at some nodes of a chunk; then the path is that of the node behind it."""
        depth = self.tree.depth
        past = int(depth[start])
        cache = import_module("transformers").DynamicCache()
        for i, (keys, values) in enumerate(self.layers if past else ()):
            cache.update(keys[:, :, :past], values[:, :, :past], i)
        positions = self.depth[start:stop]
        logits = self.model.logits(
            torch.from_numpy(self.tree.tokens[start:stop]).to(self.device)[None],
            keep,
            attention_mask=self._masks(start, stop, self.nodes[:past], positions),
            position_ids=positions[None].clone(),  # some models move them in place
            past_key_values=cache,
            use_cache=True,
        )
        self.nodes[depth[start:stop]] = np.arange(start, stop)
        last = stop == len(self.tree.tokens)
        if not last or len(self.tree.order) == 1:
            path = self.nodes if last else self.nodes[: depth[stop]]
            self._keep(list(_layers(cache)), start, past, path)
        return logits

    def _masks(self, start: int, stop: int, past: Ids, positions: Tensor) -> Any:
        """Who sees whom: the nodes of a chunk, those of the path and one another."""
        seen = torch.from_numpy(np.concatenate([past, np.arange(start, stop)])).to(self.device)
        nodes = seen[len(past) :, None]
        full = (seen <= nodes) & (nodes < self.ends[seen])
        if self.window is None:
            return self._added(full)
        size, mixed = self.window
        sliding = self._added(full & (positions[:, None] - self.depth[seen] < size))
        both = {"full_attention": self._added(full), "sliding_attention": sliding}
        return both if mixed else sliding

    def _added(self, visible: Tensor) -> Tensor:
        """A mask as numbers that are added to scores, (1, 1, q, k)."""
        kind = self.model.dtype
        lowest = torch.finfo(kind).min
        return torch.zeros(visible.shape, dtype=kind, device=self.device).masked_fill_(
            ~visible, lowest
        )[None, None]

    def _keep(self, made: list[tuple[Tensor, Tensor]], start: int, past: int, path: Ids) -> None:
        """What the chunk has made of the path to the next one."""
        if not self.layers:
            size = len(self.nodes)
            self.layers = [(_room(keys, size), _room(values, size)) for keys, values in made]
        new = torch.from_numpy(np.flatnonzero(path >= start))
        if not len(new):
            return
        source = torch.from_numpy(path - start + past)[new]
        for mine, theirs in zip(self.layers, made, strict=True):
            for whole, part in zip(mine, theirs, strict=True):
                whole[:, :, new.to(whole.device)] = part[:, :, source.to(part.device)]


def _room(made: Tensor, size: int, known: int = 0) -> Tensor:
    """Memory for keys or values (1, H, n, D) of so many nodes, the first of them known."""
    room = made.new_zeros(*made.shape[:2], size, made.shape[3])
    room[:, :, :known] = made[:, :, :known]
    return room


def _window(config: Any) -> tuple[int, bool] | None:
    """How far sliding layers see, and whether some layers see everything."""
    text = getattr(config, "get_text_config", lambda: config)()
    size = getattr(text, "sliding_window", None)
    kinds = set(getattr(text, "layer_types", None) or ["sliding_attention"])
    if not isinstance(size, int) or "sliding_attention" not in kinds:
        return None
    return size, kinds != {"sliding_attention"}


def _layers(cache: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """The keys and values (1, H, n, D) in a cache, whichever release of transformers made it."""
    if hasattr(cache, "layers"):
        return ((layer.keys, layer.values) for layer in cache.layers)
    return zip(cache.key_cache, cache.value_cache, strict=True)
