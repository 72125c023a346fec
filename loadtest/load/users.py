"""Who asks: clients who wait for their answers (closed loop), and arrivals who come whatever happens (open loop)."""

from __future__ import annotations

from time import perf_counter
from typing import ClassVar

import gevent
from gevent.pool import Group
from locust import FastHttpUser, task
from locust.contrib.fasthttp import FastResponse
from locust.runners import STATE_CLEANUP, STATE_STOPPED, STATE_STOPPING

from loadtest.load import described
from loadtest.load.answers import WrongAnswer
from loadtest.load.arrivals import schedule
from loadtest.load.questions import Question
from loadtest.load.run import Run

TIMEOUT = 10.0  # seconds until a request has failed
ENDING = (STATE_STOPPING, STATE_CLEANUP, STATE_STOPPED)
REASON_CHARACTERS = 120


class Asker(FastHttpUser):
    """Asks a question of the run and judges the answer."""

    abstract = True
    network_timeout = connection_timeout = TIMEOUT
    current: ClassVar[Run | None] = None  # of this process, put here when a test starts

    def ask(self, due: float | None = None) -> None:
        """One request, due at a time of perf_counter, or now; its latency counts from then (no coordinated omission,
        Tene 2013, How NOT to Measure Latency)."""
        run = self.current
        assert run
        question, number = run.draw()
        sent = perf_counter()
        due = sent if due is None else due
        with self.client.post(
            question.path,
            data=question.body(number),  # type: ignore[arg-type] # which takes bytes too
            headers={**question.headers, **described.headers()},
            name=question.model.name,
            catch_response=True,
        ) as response:
            latency = perf_counter() - due
            response.request_meta |= {"response_time": latency * 1000, "request_type": question.interface}
            reason = fault(question, number, response)
            if reason:
                response.failure(reason)
        run.records.add(question.kind, due - run.started, latency, sent - due, reason)


def fault(question: Question, number: int, response: FastResponse) -> str:
    """Why an answer is no good, or nothing."""
    if response.status_code != 200:
        return f"{response.status_code}: {(response.text or getattr(response, 'error', ''))!s:.{REASON_CHARACTERS}}"
    try:
        question.judge(number, response.content, response.headers)  # type: ignore[arg-type] # which is a mapping
    except WrongAnswer as error:
        return f"wrong: {error!s:.{REASON_CHARACTERS}}"
    return ""


class Client(Asker):
    """One of a closed loop: asks, waits for the answer, asks again."""

    @task
    def again(self) -> None:
        self.ask()


class Arrivals(Asker):
    """All arrivals of an open loop in this process, each in a greenlet and, while others wait, on a connection of its
    own."""

    concurrency = 4096

    @task
    def arrive(self) -> None:
        run, flying = self.current, Group()
        assert run
        for second in schedule(run.plan, run.generator, run.generators):
            due = run.started + float(second)
            gevent.sleep(max(0.0, due - perf_counter()))
            if self.ending():
                break
            flying.spawn(self.ask, due)
        flying.join(TIMEOUT)
        while not self.ending():  # a task that returns is begun again
            gevent.sleep(0.05)

    def ending(self) -> bool:
        return self.environment.runner is None or self.environment.runner.state in ENDING
