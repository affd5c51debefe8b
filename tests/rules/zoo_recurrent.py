"""Recurrent layers, in torch's kernels and as loops over cells."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rules.entry import Entry, ids, normal, rows_of

N, T, E, H = 2, 4, 3, 4


class Recurrent(nn.Module):
    """A recurrent layer on (N, T, E), read at its last step, or in its final states."""

    def __init__(self, kind: type[nn.RNNBase], states: bool = False, **options: object) -> None:
        super().__init__()
        self.states = states
        self.layer = kind(E, H, **options)
        self.last = nn.Linear(self.width(states), 3)

    def width(self, states: bool) -> int:
        both = 2 if self.layer.bidirectional else 1
        return both * H * (self.layer.num_layers if states else 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.layer.batch_first
        out, state = self.layer(x if first else x.transpose(0, 1))
        if self.states:
            hidden = state[0] + state[1].tanh() if isinstance(state, tuple) else state
            return self.last(hidden.transpose(0, 1).flatten(1))
        return self.last(out[:, -1] if first else out[-1])


class Started(nn.Module):
    """The state at the start depends on the input as well."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layer, self.last = kind(E, H, batch_first=True), nn.Linear(H, 3)
        self.start = nn.Linear(E, H)

    def forward(self, x: Tensor) -> Tensor:
        h = self.start(x.mean(1)).tanh()[None]
        state = (h, h * 2) if isinstance(self.layer, nn.LSTM) else h
        return self.last(self.layer(x, state)[0].sum(1))


class Cells(nn.Module):
    """A loop over a cell."""

    def __init__(self, kind: type[nn.RNNCellBase], given: bool) -> None:
        super().__init__()
        self.cell, self.last, self.given = kind(E, H), nn.Linear(H, 3), given

    def forward(self, x: Tensor) -> Tensor:
        state = None
        if self.given:
            zeros = x.new_zeros(x.shape[0], H)
            state = (zeros, zeros) if isinstance(self.cell, nn.LSTMCell) else zeros
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return self.last(state[0] if isinstance(state, tuple) else state)


class Words(nn.Module):
    """embedding -> LSTM -> linear, the sentiment model of the tutorials."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, E, padding_idx=0)
        self.layer = nn.LSTM(E, H, batch_first=True, bidirectional=True)
        self.last = nn.Linear(2 * H, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.last(self.layer(self.embed(tokens))[0].amax(1))


class Gated(nn.Module):
    """An LSTM step written out, gates cut from one product."""

    def __init__(self) -> None:
        super().__init__()
        self.gates, self.last = nn.Linear(E + H, 4 * H), nn.Linear(H, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(x.shape[0], H)
        for step in x.unbind(1):
            i, f, g, o = self.gates(torch.cat([step, h], 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return self.last(h)


def layer(kind: type[nn.RNNBase], **options: object) -> Callable[[], nn.Module]:
    return lambda: Recurrent(kind, **options)


_LAYERS: dict[str, Callable[[], nn.Module]] = {
    "LSTM": layer(nn.LSTM, batch_first=True),
    "LSTM, sequence first": layer(nn.LSTM),
    "LSTM, two layers": layer(nn.LSTM, num_layers=2, batch_first=True),
    "LSTM, two layers, both ways": layer(
        nn.LSTM, num_layers=2, bidirectional=True, batch_first=True, dropout=0.1
    ),
    "LSTM, both ways, sequence first": layer(nn.LSTM, bidirectional=True),
    "LSTM, its states": layer(nn.LSTM, states=True, num_layers=2, batch_first=True),
    "LSTM without bias": layer(nn.LSTM, bias=False, batch_first=True),
    "LSTM, started": lambda: Started(nn.LSTM),
    "GRU": layer(nn.GRU, batch_first=True),
    "GRU, two layers, both ways, sequence first": layer(nn.GRU, num_layers=2, bidirectional=True),
    "GRU, its states": layer(nn.GRU, states=True, bidirectional=True, batch_first=True),
    "GRU, started": lambda: Started(nn.GRU),
    "RNN of tanh": layer(nn.RNN, batch_first=True),
    "RNN of ReLU": layer(nn.RNN, nonlinearity="relu", num_layers=2),
    "LSTMCell": lambda: Cells(nn.LSTMCell, given=False),
    "LSTMCell, given zeros": lambda: Cells(nn.LSTMCell, given=True),
    "GRUCell": lambda: Cells(nn.GRUCell, given=False),
    "RNNCell": lambda: Cells(nn.RNNCell, given=True),
    "LSTM written out": Gated,
}
RECURRENT: list[Entry] = [
    *rows_of(
        "a recurrent layer",
        _LAYERS,
        normal((T, E)),
        rows=N,
        conserves={"RNN of ReLU", "RNN of tanh", "RNNCell"},
    ),
    Entry("words to LSTM", Words, ids(5), "ids, embedded, through a recurrent layer"),
]
