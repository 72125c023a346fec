"""One run of a plan in one process: the questions drawn in their mix, the clock, and what came of each."""

from __future__ import annotations

import random
from collections import defaultdict
from time import perf_counter

from loadtest.load import described, questions
from loadtest.load.plan import Plan, PlanError
from loadtest.load.records import Records


class Run:
    """Begun when it is made, for `plan.seconds`."""

    def __init__(self, plan: Plan, host: str, generator: int = 0, generators: int = 1) -> None:
        self.plan, self.generator, self.generators = plan, generator, generators
        self.records = Records()
        self._asked = 0
        self._random = random.Random(f"{plan.seed} {generator}")  # noqa: S311
        self._questions = _by_kind(plan, host)
        self._kinds = list(self._questions)
        self._shares = plan.shares(self._kinds)
        self.over = False  # also before its time, if somebody stops it
        self.started = perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return perf_counter() - self.started

    def draw(self) -> tuple[questions.Question, int]:
        """The next question of the mix, and its number."""
        (kind,) = self._random.choices(self._kinds, self._shares)
        self._asked += 1
        return self._random.choice(self._questions[kind]), self._asked


def _by_kind(plan: Plan, host: str) -> dict[tuple[str, str], list[questions.Question]]:
    """The questions to all models that the plan wants. PlanError, ServiceError"""
    there = {model.name: model for model in described.describe(host, questions.folders())}
    wanted = plan.models or tuple(there)
    if missing := set(wanted) - there.keys():
        raise PlanError(f"--models: {min(missing)!r} is not served, or has no examples; there is {', '.join(there)}")
    found = defaultdict(list)
    for name in wanted:
        for question in questions.questions(there[name], questions.examples(name), plan.rows):
            found[question.kind].append(question)
    if not any(plan.shares(found)):
        raise PlanError(f"--mix {plan.mix} leaves nothing to ask of {', '.join(wanted) or 'a service without models'}")
    return found
