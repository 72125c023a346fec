"""The served models: each certified form with its session and runner, under the names that clients use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from bentos import contract
from bentos.contract import FORMS, Model, Signature
from bentos.imported import model_of
from bentos.meaning import Meaning
from serving.errors import NotFound, NotReady, SettingsError
from serving.inference.dataplane import LoadedForm
from serving.inference.faults import KINDS, Faults
from serving.inference.golden import check_golden, check_payloads, golden_inputs
from serving.inference.jobs import Runner
from serving.inference.runner import INLINE_SECONDS, INLINE_SECONDS_ON_ONE_CORE, BatchingRunner
from serving.inference.sessions import Session, open_session
from serving.inference.store import RefusedForm, StoredForm, stored_forms
from serving.inference.warm_up import WarmUp, warm_up
from serving.memory import WorkerMemory
from serving.settings import Settings, chosen
from serving.telemetry.drift import DriftMonitor
from serving.telemetry.flusher import MetricsFlusher
from serving.telemetry.metrics import Metrics, Recorder

log = logging.getLogger("bentoml.ekiben")
COUNT_SECONDS, COUNTS_A_FLUSH = 0.1, 10
FLUSH_SECONDS = COUNT_SECONDS * COUNTS_A_FLUSH


class Repository:
    """Every served form by name: `digits-int8` is a form, `digits` the model's best certified one."""

    def __init__(self, settings: Settings, families: Metrics) -> None:
        self.settings = settings
        self.families = families
        self.served: dict[str, LoadedForm] = {}
        self.refused: dict[str, RefusedForm] = {}
        self.memory = WorkerMemory()  # without limits, until it is known what is left for requests
        self.faults = Faults() if settings.faults else None
        self._timer: asyncio.TimerHandle | None = None

    def load(self, tags: Iterable[Any] | None = None) -> None:
        """Open, verify and warm up every form to serve. A form that is refused is logged, and the rest go on."""
        settings, missing = self.settings, []
        for stored in stored_forms(chosen(settings.models), chosen(settings.forms), settings.pinned(), tags):
            if isinstance(stored, RefusedForm):
                self._refuse(stored)
                continue
            try:
                self.served[stored.name] = self._serve(stored)
            except ModuleNotFoundError as error:
                missing.append(f"the engine of {stored.name} is not installed (no module {error.name})")
                log.info("%s is not served: its engine is not installed (no module %s)", stored.tag, error.name)
            except Exception as error:
                self._refuse(stored.refused(f"{stored.tag}: {error}"))
        self._refuse_shared_routes()
        if self.settings.ready not in ("all", "any") and (unknown := chosen(self.settings.ready) - set(self.models)):
            raise SettingsError(f"EKIBEN_READY names {min(unknown)}; there is all, any, {', '.join(self.models)}")
        for model in {served.model.name for served in self.served.values()}:
            self.served[model] = next(self.served[name] for f in FORMS if (name := f"{model}-{f}") in self.served)
        for refused in list(self.refused.values()):  # nor has its model a form of its own name, if none is served
            if refused.model not in self.served:
                self.refused.setdefault(refused.model, refused)
        for setting, models in settings.limits.items():
            if unserved := sorted(models.keys() - set(self.models)):
                log.warning("EKIBEN_%s names %s, which is not served", setting.upper(), ", ".join(unserved))
        if not (self.served or self.refused):
            raise SettingsError(f"no model is served: {'; '.join(missing)}")

    def _refuse_shared_routes(self) -> None:
        """Refuse the models whose folders claim a path that is another model's."""
        models = {served.model.name: served.model for served in self.served.values()}
        owners = {f"/{m.name}/{word}": m.name for m in models.values() for word in (m.verb, "predict", "random")}
        for name, model in sorted(models.items()):
            shared_path = next(
                (route.path for route in model.routes if owners.setdefault(route.path, name) != name), None
            )
            for form in [f for f in self.served.values() if f.model.name == name and shared_path]:
                form.runner.close()
                del self.served[form.stored.name]
                self._refuse(
                    form.stored.refused(f"{form.stored.tag}: its route {shared_path} is {owners[str(shared_path)]}'s")
                )

    def _refuse(self, refused: RefusedForm) -> None:
        self.refused[refused.name] = refused
        self.families.refused.labels(refused.model, refused.form, refused.version).set(1)
        log.error("REFUSED %s", refused.refusal)

    def _serve(self, stored: StoredForm) -> LoadedForm:
        model = described_model(stored)
        session = open_session(model, stored.form, stored.file, self.settings.threads())
        check_golden(session, model.signature, stored.certificate, stored.folder)
        check_payloads(session, model)
        recorder = Recorder(self.families, (stored.model, stored.form, stored.version))
        flusher = MetricsFlusher(recorder, DriftMonitor(model, stored.certificate, self.families))
        self.families.refused.labels(*recorder.labels).set(0)
        signature = model.signature
        calls = golden_inputs(signature, stored.certificate, stored.folder)
        warm = warm_up(session, signature, self.settings.batch_size(stored.model), calls)
        runner = self._runner(stored.model, session, signature, recorder, flusher, warm)
        return LoadedForm(model, stored, runner, recorder, flusher.flush, flusher.count, warm.max_batch_size)

    def _runner(
        self,
        name: str,
        session: Session,
        signature: Signature,
        recorder: Recorder,
        flusher: MetricsFlusher,
        warm: WarmUp,
    ) -> Runner:
        settings = self.settings
        return BatchingRunner(
            session,
            signature,
            recorder,
            max_batch_size=warm.max_batch_size,
            max_latency=settings.latency_ms(name) / 1e3,
            max_queue_rows=settings.max_queue_rows,
            observe=flusher.observe,
            timings=warm.timings,
            queue_delay=settings.queue_delay_us / 1e6,
            inline_seconds=INLINE_SECONDS_ON_ONE_CORE if settings.one_core() else INLINE_SECONDS,
            answered=warm.answered,
            tells_synthetic=bool(settings.synthetic or settings.api_keys_file),
        )

    @property
    def models(self) -> list[str]:
        """The names of the models that have at least one form, served or refused."""
        return sorted({s.model.name for s in self.served.values()} | {s.model for s in self.refused.values()})

    @property
    def ready(self) -> bool:
        """Whether the models answer by their plain names that EKIBEN_READY wants to."""
        wanted = self.settings.ready
        if wanted == "any":
            return bool(self.served)
        names = self.models if wanted == "all" else sorted(chosen(wanted))
        return bool(self.served) and all(name in self.served for name in names)

    def forms(self, model: str) -> list[LoadedForm]:
        """The forms of one model that answer, best first."""
        return [self.served[name] for form in FORMS if (name := f"{model}-{form}") in self.served]

    def refused_form(self, model: str) -> RefusedForm:
        """A refused form of a model none of whose forms answers. StopIteration where it has none"""
        return next(stored for stored in self.refused.values() if stored.model == model)

    def every_form(self) -> list[LoadedForm]:
        """Each served form once, whatever its names."""
        return [served for name, served in self.served.items() if name == served.stored.name]

    def get(self, name: str, form: str | None = None) -> LoadedForm:
        """The served form of a name, or another form of its model. NotFound names what there is."""
        served = self.served.get(name if form is None else f"{self._model(name)}-{form}")
        if served is not None:
            return served
        if form is not None:
            forms = ", ".join(s.form for s in self.forms(self._model(name)))
            if refused := self.refused.get(f"{self._model(name)}-{form}"):
                raise NotReady(f"form {form} is refused: {refused.refusal}")
            raise NotFound(f"{name} has no form {form[:60]!r}: there is {forms}")
        if refused := self.refused.get(name):
            raise NotReady(f"model {name} is refused: {refused.refusal}")
        raise NotFound(f"no model {name!r}: there is {', '.join(sorted(self.served))}")

    def _model(self, name: str) -> str:
        return self.served[name].model.name if name in self.served else name

    def flush(self) -> None:
        """Bring the metrics up to now."""
        for served in self.every_form():
            served.flush()

    def keep_flushing(self, worker: int, turn: int = 0) -> None:
        """Count ten times a second, for a killed worker loses what it holds; once a second flush the rest, so that any
        worker's scrape sees it, and show that this one lives."""
        # Before the rest: a flush that fails is not the last.
        turn_after = (turn + 1) % COUNTS_A_FLUSH
        self._timer = asyncio.get_running_loop().call_later(COUNT_SECONDS, self.keep_flushing, worker, turn_after)
        if turn:
            for served in self.every_form():
                served.count()
            return
        self.families.workers.set(self.settings.workers)
        if self.faults is not None:
            for kind in KINDS:
                self.families.faults.labels(kind).set(len(self.faults.active(kind)))
        self.families.heartbeats.labels(str(worker)).inc(FLUSH_SECONDS)
        self.flush()

    def close(self) -> None:
        """Flush the metrics and end every runner."""
        if self._timer is not None:
            self._timer.cancel()
        self.flush()
        for served in self.every_form():
            served.runner.close()


def described_model(stored: StoredForm) -> Model:
    """The folder's Model, held to the certificate; for a stored model without a folder, one made from what it says.

    NotReady says what in the folder is not as the form was made with, ModelError what is wrong in it.
    """
    certificate = stored.certificate
    if stored.model not in contract.names():
        return model_of(stored.model, stored.described, certificate.signature, certificate.meaning.labels)
    model = contract.model(stored.model)
    differing = certificate.meaning.differences(Meaning.of(model))
    if model.signature != certificate.signature:
        differing.insert(0, "the signature")
    if differing:
        raise NotReady(
            f"it is not of {contract.shown(stored.model)}/model.py as that is now: {'; '.join(differing)}."
            " Train and convert again, or serve the folder that it was made with"
        )
    return model
