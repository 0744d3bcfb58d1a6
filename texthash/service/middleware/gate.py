"""What the middleware and the short way of a search share."""

from __future__ import annotations

from dataclasses import dataclass, field

from texthash.config import LimitsConfig
from texthash.service.memory_budget import MemoryBudget
from texthash.service.middleware.admission import Capacity
from texthash.service.middleware.auth import Keys
from texthash.service.middleware.pace import TOGETHER
from texthash.service.middleware.request_log import Recorder
from texthash.service.middleware.turns import Turns


@dataclass
class Gate:
    """Conditions under which a request is answered, and the counts of those that are.

    Attributes:
        limits: Limits of the service.
        budget: Memory budget of bodies and answers.
        keys: Keys of the service; without one it is open.
        hosts: Allowed host names; None allows any.
        turns: Turns of the requests that arrive together.
        recorder: Recorder of the requests that have ended.
        capacity: Capacity of the service.
    """

    limits: LimitsConfig
    budget: MemoryBudget
    keys: Keys
    hosts: frozenset[str] | None = None
    turns: Turns = field(default_factory=lambda: Turns(TOGETHER))
    recorder: Recorder = field(default_factory=Recorder)
    capacity: Capacity = field(init=False)

    def __post_init__(self) -> None:
        self.capacity = Capacity(self.limits, self.budget)
