"""How this worker process is, in one object that the composition root makes and hands on."""

from __future__ import annotations

from dataclasses import dataclass, field

from serving.loop_clock import LoopClock


@dataclass
class Lifecycle:
    """Set by the process room, read by health and by the connections."""

    draining: bool = False  # SIGTERM has come: what was accepted is answered, and each answer closes its connection
    sick: str = ""  # why this process does not do its work; empty while it does
    clock: LoopClock = field(default_factory=LoopClock)  # how late its event loop is
