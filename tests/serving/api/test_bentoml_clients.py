"""The routes that BentoML is told of, before any model is loaded."""

import json
from types import SimpleNamespace

import yaml

import serving.service_class
from service import Ekiben
from serving.api import bentoml_clients
from serving.settings import Settings


def test_models_without_a_folder_have_no_route():
    described = bentoml_clients.of_folders(["iris", "digits", "iris", "nobody-s"], Settings())
    assert [(each["name"], each["route"]) for each in described] == [
        ("digits_classify", "/digits/classify"),
        ("iris_classify", "/iris/classify"),
    ]
    assert "sepal_length" in described[1]["input"]["properties"]


def test_a_bento_is_built_with_the_routes_of_what_is_stored(monkeypatch):
    stored = [SimpleNamespace(model="wine"), SimpleNamespace(model="wine"), SimpleNamespace(model="homes")]
    monkeypatch.setattr(serving.service_class, "stored_forms", lambda *_: stored)
    schema = Ekiben.schema()
    assert schema["name"] == "ekiben"
    assert [each["route"] for each in schema["routes"]] == ["/homes/price", "/wine/classify"]
    assert yaml.safe_load(yaml.safe_dump(schema)) == schema == json.loads(json.dumps(schema))  # files of the bento
