"""BentoML's store in this process."""

import pytest


@pytest.fixture(scope="module")
def stored_here(store):
    """BentoML's store in this process is the tests'."""
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models import ModelStore

    with BentoMLContainer.model_store.patch(ModelStore(store / "models")):
        yield
