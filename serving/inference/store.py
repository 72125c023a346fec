"""The forms at hand: which stored models are forms of ours, at which version, and whether their certificate holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bentoml

from bentos.certificate import Certificate, CertificateError, verify
from bentos.contract import FORMS
from serving.errors import SettingsError


@dataclass(frozen=True)
class _Form:
    """A form in the BentoML store."""

    model: str
    form: str
    version: str

    @property
    def name(self) -> str:
        return f"{self.model}-{self.form}"

    @property
    def tag(self) -> str:
        return f"{self.name}:{self.version}"


@dataclass(frozen=True)
class RefusedForm(_Form):
    """A form that must not be served, and why."""

    refusal: str


@dataclass(frozen=True)
class StoredForm(_Form):
    """A form whose certificate holds."""

    folder: Path
    certificate: Certificate
    described: Mapping[str, Any]  # what a model without a folder under bentos/ says of itself

    @property
    def file(self) -> Path:
        """The path of the model file."""
        return self.folder / self.certificate.file.name

    def refused(self, reason: str) -> RefusedForm:
        """The same, refused after all."""
        return RefusedForm(self.model, self.form, self.version, reason)


def stored_forms(
    models: set[str], forms: set[str], pinned: Mapping[str, str], tags: Iterable[Any] | None = None
) -> list[StoredForm | RefusedForm]:
    """The forms to serve: of each model its pinned version, else its latest; all forms of a model share one version.

    `tags` limits the search to a bento's own models; None searches the whole store. Empty sets choose everything.
    ValueError names a pinned version, a model or a form that is not there.
    """
    candidates = list(bentoml.models.list()) if tags is None else [bentoml.models.get(tag) for tag in tags]
    items = [
        item
        for item in sorted(candidates, key=lambda m: m.info.creation_time)
        if item.info.labels.get("form") in FORMS
        and item.tag.name == f"{item.info.labels.get('model')}-{item.info.labels['form']}"
    ]
    version: dict[str, str] = {item.info.labels["model"]: item.tag.version or "" for item in items} | dict(pinned)
    wanted = [
        item
        for item in items
        if item.tag.version == version[item.info.labels["model"]]
        and (not models or item.info.labels["model"] in models)
        and (not forms or item.info.labels["form"] in forms)
    ]
    _require(
        "EKIBEN_VERSIONS",
        {f"{m}={v}" for m, v in pinned.items()},
        {f"{i.info.labels['model']}={i.tag.version}" for i in items},
    )
    _require("EKIBEN_MODELS", models, set(version))
    _require("EKIBEN_FORMS", forms, set(FORMS))
    if not wanted:
        _refuse_nothing(models, forms, {item.info.labels["form"] for item in items})
    return sorted((_read(item) for item in wanted), key=lambda f: (f.model, FORMS.index(f.form)))


def _refuse_nothing(models: set[str], forms: set[str], stored: set[str]) -> None:
    """SettingsError for a store without any form, or without those that are asked for."""
    if not stored:
        raise SettingsError("there is no model to serve: `make models` trains, converts and stores them")
    of = f" of {', '.join(sorted(models))}" if models else ""
    raise SettingsError(
        f"EKIBEN_FORMS={','.join(sorted(forms))}: there is no such form{of} here; there is {', '.join(sorted(stored))}"
    )


def _require(setting: str, names: set[str], stored: set[str]) -> None:
    if missing := sorted(names - stored):
        raise SettingsError(
            f"{setting} names {', '.join(missing)}; the store has {', '.join(sorted(stored)) or 'nothing'}"
        )


def _read(item: Any) -> StoredForm | RefusedForm:
    labels, metadata = item.info.labels, item.info.metadata
    name = labels["model"], labels["form"], item.tag.version
    try:
        certificate = verify(metadata.get("certificate"), Path(item.path), labels["form"])
        if (certificate.model, certificate.version) != (labels["model"], item.tag.version):
            raise CertificateError(f"its certificate is of {certificate.model} {certificate.version}")
    except CertificateError as error:
        return RefusedForm(*name, f"{item.tag}: {error}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return RefusedForm(*name, f"{item.tag}: its certificate cannot be read: {error!r}")
    except OSError as error:
        return RefusedForm(*name, f"{item.tag}: its file cannot be read: {error.strerror}")
    return StoredForm(*name, Path(item.path), certificate, metadata.get("model") or {})
