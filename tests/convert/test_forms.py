"""A toy network through every form: what is saved, what is refused, what is left alone."""

import dataclasses
from pathlib import Path

import bentoml
import numpy as np
import onnx
import pytest

from bentos import certificate as proof
from bentos.contract import Tolerance
from convert import artifacts, engine, forms
from convert.__main__ import main
from tests.certificates import stored_certificate
from tests.convert import toy
from train.run import train

FORMS = ("pytorch", "onnx", "optimized", "int8")


@pytest.fixture(scope="module")
def run_of_training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts")
    with pytest.MonkeyPatch.context() as patch:
        toy.install(patch)
        train("toy", 0, {}, folder)
    return folder


@pytest.fixture
def made(run_of_training: Path, toy_model: str) -> artifacts.Artifacts:
    return artifacts.read("toy", run_of_training / "toy")


def convert(made: artifacts.Artifacts, *chosen: str, force: bool = False) -> dict[str, forms.Outcome]:
    return {o.form: o for o in forms.convert(made, chosen or FORMS, force)}


def test_every_form_is_certified_saved_and_runs_as_its_certificate_says(store: Path, made: artifacts.Artifacts) -> None:
    outcomes = convert(made)
    assert list(outcomes) == list(FORMS)
    assert {o.refusal for o in outcomes.values()} == {""}
    expected = made.outputs["logits"]
    for form in FORMS:
        stored = bentoml.models.get(f"toy-{form}:latest")
        assert stored.tag.version == made.version
        assert stored.info.labels == {"model": "toy", "form": form, "framework": "pytorch", "ekiben": "form"}
        certificate = proof.verify(stored_certificate(stored), Path(stored.path), form)
        run = engine.form_run(toy.MODEL, "pytorch", form, Path(stored.path) / certificate.file.name)
        gap = np.abs(engine.in_batches(run, made.inputs, 7)["logits"] - expected).max()
        # int8 depends on no batch either; the others by float rounding
        assert gap == pytest.approx(certificate.difference.max, abs=1e-5)


def test_the_optimized_form_is_folded_and_portable(store: Path, made: artifacts.Artifacts) -> None:
    convert(made, "optimized")
    graph = onnx.load(bentoml.models.get("toy-optimized").path_of("model.onnx"))
    operators = {n.op_type for n in graph.graph.node}
    assert "BatchNormalization" not in operators
    assert {n.domain for n in graph.graph.node} <= {"", "com.microsoft"}
    assert {o.domain for o in graph.opset_import} <= {"", "com.microsoft"}
    assert b"/tests/" not in graph.SerializeToString(), "stack traces of the exporter are left in"


def test_the_int8_form_holds_8_bit_weights(store: Path, made: artifacts.Artifacts) -> None:
    convert(made, "int8")
    graph = onnx.load(bentoml.models.get("toy-int8").path_of("model.onnx"))
    assert onnx.TensorProto.INT8 in {t.data_type for t in graph.graph.initializer}


def test_a_form_above_its_tolerance_is_refused_and_the_next_still_made(store: Path, made: artifacts.Artifacts) -> None:
    tight = dict(toy.RECIPE.tolerances) | {"onnx": Tolerance(difference=0.0), "int8": Tolerance(difference=1e-6)}
    refusing = dataclasses.replace(made, recipe=dataclasses.replace(toy.RECIPE, tolerances=tight))
    outcomes = convert(refusing, "int8", "optimized")
    assert "max difference from pytorch is" in outcomes["int8"].refusal
    assert "the tolerance 1e-06" in outcomes["int8"].refusal
    assert [m.tag.name for m in bentoml.models.list()] == ["toy-optimized"]


def test_labels_and_metric_are_judged_too(made: artifacts.Artifacts, tmp_path: Path) -> None:
    from convert.artifacts import ConvertError
    from convert.certify import certify

    def wrong(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"logits": -made.outputs["logits"][: len(inputs["image"])]}

    def never(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"logits": np.full((len(inputs["image"]), 2), np.nan, np.float32)}

    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(ConvertError, match=r"of 100 labels differ from pytorch"):
        certify(made, "onnx", tmp_path / "model.onnx", wrong, made.outputs)
    with pytest.raises(ConvertError, match="accuracy lost is"):
        certify(made, "int8", tmp_path / "model.onnx", wrong, made.outputs)
    with pytest.raises(ConvertError, match="difference from pytorch is nan"):
        certify(made, "onnx", tmp_path / "model.onnx", never, made.outputs)


def test_a_second_conversion_leaves_the_store_alone(store: Path, made: artifacts.Artifacts) -> None:
    convert(made, "onnx")
    file = bentoml.models.get("toy-onnx").path_of("model.onnx")
    before = Path(file).stat().st_mtime_ns, Path(file).stat().st_ino
    again = convert(made, "onnx")["onnx"]
    assert again.note == "already in the store"
    assert (Path(file).stat().st_mtime_ns, Path(file).stat().st_ino) == before
    assert convert(made, "onnx", force=True)["onnx"].note == "saved"
    assert Path(file).stat().st_ino != before[1] or Path(file).stat().st_mtime_ns != before[0]


def test_a_tolerance_changed_since_is_applied(store: Path, made: artifacts.Artifacts) -> None:
    convert(made, "int8")
    strict = dataclasses.replace(toy.RECIPE, tolerances={"int8": Tolerance(difference=1e-6)})
    assert "the tolerance 1e-06" in convert(dataclasses.replace(made, recipe=strict), "int8")["int8"].refusal


def test_a_damaged_form_is_made_anew(store: Path, made: artifacts.Artifacts) -> None:
    convert(made, "onnx")
    with Path(bentoml.models.get("toy-onnx").path_of("model.onnx")).open("ab") as file:
        file.write(b"\0")
    assert convert(made, "onnx")["onnx"].note == "saved"


def test_an_edited_certificate_is_seen(store: Path, made: artifacts.Artifacts) -> None:
    convert(made, "int8")
    stored = bentoml.models.get("toy-int8")
    path = Path(stored.path_of("model.yaml"))
    loss = stored_certificate(stored)["metrics"]["accuracy"]
    path.write_text(path.read_text().replace(f"accuracy: {loss}", "accuracy: 0.5"))
    with pytest.raises(proof.CertificateError, match="edited"):
        proof.verify(stored_certificate(bentoml.models.get("toy-int8")), Path(stored.path), "int8")


def test_what_is_converted_last_is_the_latest(
    store: Path, made: artifacts.Artifacts, toy_model: str, tmp_path: Path
) -> None:
    train("toy", 1, {}, tmp_path)
    other = artifacts.read("toy", tmp_path / "toy")
    assert other.version != made.version
    convert(made, "pytorch")
    convert(other, "pytorch")
    assert bentoml.models.get("toy-pytorch:latest").tag.version == other.version
    assert convert(made, "pytorch")["pytorch"].note == "already in the store, now the latest again"
    assert bentoml.models.get("toy-pytorch:latest").tag.version == made.version
    assert len(bentoml.models.list("toy-pytorch")) == 2


def test_the_command_says_what_was_lost_and_fails_on_a_refusal(
    store: Path,
    run_of_training: Path,
    toy_model: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["toy", "--artifacts", str(run_of_training), "--forms", "pytorch,onnx"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "toy-onnx" in out and "accuracy 1.0000" in out and "1e-04" in out
    strict = dataclasses.replace(toy.RECIPE, tolerances={"int8": Tolerance(difference=1e-9)})
    monkeypatch.setattr("bentos.contract.recipe", lambda name: strict)
    assert main(["toy", "--artifacts", str(run_of_training), "--forms", "int8"]) == 1
    assert "toy-int8: refused, not saved: max difference" in capsys.readouterr().err


def test_artifacts_that_do_not_belong_together_are_refused(
    run_of_training: Path, toy_model: str, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(run_of_training / "toy", tmp_path / "toy")
    train("toy", 5, {}, tmp_path / "other")
    shutil.copy(tmp_path / "other/toy/weights.safetensors", tmp_path / "toy")
    with pytest.raises(artifacts.ConvertError, match="python -m train toy"):
        artifacts.read("toy", tmp_path / "toy")
    with pytest.raises(artifacts.ConvertError, match="holds no trained model"):
        artifacts.read("toy", tmp_path / "nothing")
