"""How far a measurement is: tqdm's bar, over steps or over the seconds that everything may take."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

BAR = "{percentage:3.0f}% |{bar:24}| {elapsed}, {remaining} left  {postfix}"


class Progress(tqdm):
    """A bar with the last step in words."""

    def __init__(self, total: float, **options: Any) -> None:
        super().__init__(total=total, bar_format=BAR, dynamic_ncols=True, **options)

    def tell(self, text: str, done: float | None = None) -> None:
        """A step has ended; `done` of the total is behind us, or one more than before."""
        self.n: float = min(self.total, self.n + 1 if done is None else done)
        self.set_postfix_str(text)
