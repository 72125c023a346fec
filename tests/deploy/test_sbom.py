"""The bill of materials of an image, from what the image said of itself."""

import json
from datetime import UTC, datetime

from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion

from deploy.sbom import Contents, bill

IDENTITY = "sha256:" + "0f" * 32
FOUND = Contents(
    python="3.11.9",
    distributions={("bentoml", "1.4.39"), ("pip", "24.0")},
    packages={("libc6", "2.36-9")},
    models=[{"name": "kettle-onnx", "version": "1", "files": {"model.onnx": "ab" * 32, "model.yaml": "cd" * 32}}],
)


def written(identity: str = IDENTITY) -> dict[str, object]:
    from cyclonedx.validation.json import JsonStrictValidator  # takes seconds: no other test's process waits for it

    bom = bill("ekiben:slim", identity, datetime(2026, 1, 2, tzinfo=UTC), FOUND)
    text = JsonV1Dot6(bom).output_as_string()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document: dict[str, object] = json.loads(text)
    return document


def test_models_and_the_images_python_are_in_it() -> None:
    parts = {part["name"]: part for part in written()["components"]}  # type: ignore[attr-defined]
    assert parts.keys() == {"python", "bentoml", "pip", "libc6", "kettle-onnx"}
    model = parts["kettle-onnx"]
    assert (model["type"], model["version"]) == ("machine-learning-model", "1")
    digests = {file["name"]: file["hashes"] for file in model["components"]}
    assert digests["model.onnx"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert parts["python"]["cpe"] == "cpe:2.3:a:python:python:3.11.9:*:*:*:*:*:*:*"


def test_the_same_image_has_the_same_serial_number_and_another_has_another() -> None:
    assert written()["serialNumber"] == written()["serialNumber"] != written("sha256:" + "1f" * 32)["serialNumber"]
    assert str(written()["serialNumber"]).startswith("urn:uuid:")
