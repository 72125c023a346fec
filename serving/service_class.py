"""Our BentoML service class: BentoML boxes, starts and supervises; requests take the lean path in front of its stack.

BentoML 1.4's middleware costs a request ten times what the rest does, also around a mounted application; only an
application that is put in front of it by the service class escapes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from _bentoml_sdk.models import BentoModel
from _bentoml_sdk.service import Service
from bentoml import server_context
from bentoml.exceptions import BentoMLException

from serving.errors import SettingsError
from serving.http.gateway import Gateway, Limits, install_http_protocol
from serving.http.keys import Keys
from serving.http.listener import install_event_loop
from serving.inference.store import RefusedForm, StoredForm, stored_forms
from serving.process.heartbeat import FAILED, HOPELESS, HeartbeatSender
from serving.process.inherited import inherited_memory
from serving.settings import Settings, chosen

# What BentoML's own application answers where we have no such route: probes, and the files of the Swagger page.
BENTOML_PATHS = (
    "/livez",
    "/readyz",
    "/healthz",
    *(f"/static_content/{name}" for name in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-light-32x32.png")),
)


def _stored() -> list[StoredForm | RefusedForm]:
    """The forms that the settings choose. BentoMLException, which bentoml's commands print as one line"""
    settings = Settings.read()
    try:
        return stored_forms(chosen(settings.models), chosen(settings.forms), settings.pinned())
    except SettingsError as error:
        raise BentoMLException(str(error)) from None


class LeanService(Service):  # type: ignore[misc] # BentoML's classes are untyped
    """A BentoML service whose instance's `routes()` are answered before BentoML's middleware sees the request."""

    instance: Any = None

    def __call__(self) -> Any:
        """The instance, in a worker; the supervisor is told why there is none. SettingsError; what loading raises"""
        heartbeat = HeartbeatSender()
        try:
            self.instance = super().__call__()
        except SettingsError as error:
            if heartbeat.is_heard:
                heartbeat.send(HOPELESS, str(error))
                os._exit(1)  # the supervisor says why; a traceback would bury it
            raise
        except Exception as error:
            heartbeat.send(FAILED, f"{type(error).__name__}: {error}")
            raise
        return self.instance

    def to_asgi(self, is_main: bool = True) -> Gateway:
        """The gateway in front of BentoML's application, with our protocol class and event loop installed."""
        settings = Settings.read()
        install_http_protocol()
        shared = inherited_memory() if settings.workers > 1 else None
        install_event_loop(shared, server_context.worker_index or 0, settings.connections())
        return Gateway(
            super().to_asgi(is_main),
            BENTOML_PATHS,
            lambda: self.instance,
            Limits(settings.connections(), settings.body_timeout_s, settings.keep_alive_s),
            Keys(Path(settings.api_keys_file), settings.workers) if settings.api_keys_file else None,
            frozenset(host.lower() for host in chosen(settings.allowed_hosts)),
            bool(settings.synthetic),
        )

    def schema(self) -> dict[str, Any]:
        """With the routes that BentoML does not know of: a bento is built with this, and `bentoml get` shows it."""
        schema: dict[str, Any] = super().schema()
        describe = getattr(self.inner, "describe", None)
        if describe is not None and self.bento is None:
            schema["routes"] = [*schema["routes"], *describe(form.model for form in _stored())]
        return schema

    @property
    def models(self) -> list[BentoModel]:
        """The forms to put into a bento, pinned when BentoML asks: importing the service reads no store."""
        if self.bento is not None:
            return []  # a built bento knows its models by itself
        return [BentoModel(form.tag) for form in _stored()]

    @models.setter
    def models(self, _: list[BentoModel]) -> None:
        """BentoML's initialiser sets an empty list."""

    def own_models(self) -> list[Any] | None:
        """The tags in the bento that is served; None when it is served from a checkout."""
        return None if self.bento is None else [info.tag for info in self.bento.info.all_models]
