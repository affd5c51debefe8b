"""One progress protocol for every long loop: model rows done, of all there will be."""

from __future__ import annotations

import sys
from typing import Any

from tqdm.auto import tqdm


class Progress:
    """Counts rows through the model; shown with tqdm where the user asked for it.

    The total is the number of rows the method plans, so a finished run reads 100 %.
    """

    def __init__(self, title: str = "", show: bool = False) -> None:
        self.title = title
        self.show = show
        self._bar: Any = None

    def expect(self, total: int) -> None:
        """Set the total once the number of examples is known."""
        if self.show:
            self._shown().total = total
            self._shown().refresh()

    def skip(self, rows: int) -> None:
        """Rows of the plan that turned out not to be needed."""
        if self.show and rows and self._shown().total is not None:
            self._shown().total -= rows
            self._shown().refresh()

    def more(self, rows: int) -> None:
        """Rows beside the plan."""
        self.skip(-rows)
        self.add(rows)

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self.show:
            tqdm.write(text, file=sys.stderr)

    def add(self, rows: int) -> None:
        if self.show:
            self._shown().update(rows)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _shown(self) -> Any:
        if self._bar is None:
            self._bar = tqdm(desc=self.title, unit="row")
        return self._bar
