"""One progress protocol for every long loop: model rows done, of all there will be."""

from __future__ import annotations

from tqdm.auto import tqdm


class Progress:
    """Counts rows through the model; shown with tqdm where the user asked for it.

    The total is the number of rows the method plans, so a finished run reads 100 %.
    """

    def __init__(self, title: str, total: int | None, show: bool) -> None:
        self.done = 0
        self._bar = tqdm(desc=title, total=total, unit="row") if show else None

    def expect(self, total: int) -> None:
        """Set the total once the number of examples is known."""
        if self._bar is not None:
            self._bar.total = total
            self._bar.refresh()

    def add(self, rows: int) -> None:
        self.done += rows
        if self._bar is not None:
            self._bar.update(rows)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
