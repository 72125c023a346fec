"""Lays out a model repository, then becomes the Triton that the nvidia-pytriton wheel carries."""

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytriton

HERE = Path(__file__).parent
WHEEL = Path(pytriton.__file__).parent
TRITON = WHEEL / "tritonserver"


def lay_out_repository(instances: str) -> Path:
    """repository/<model>/config.pbtxt and repository/<model>/1/model.py, which is the shape Triton reads."""
    repository = Path(tempfile.mkdtemp(prefix="triton-models-"))
    for model in [path.stem for path in HERE.glob("*.pbtxt") if f"{path.stem.upper()}_ONNX" in os.environ]:
        (repository / model / "1").mkdir(parents=True)
        config = (HERE / f"{model}.pbtxt").read_text().replace("count: 1", f"count: {instances}")
        (repository / model / "config.pbtxt").write_text(config)
        shutil.copy(HERE / "model.py", repository / model / "1" / "model.py")
    return repository


def lay_out_backends(repository: Path) -> Path:
    """The wheel keeps one stub per Python version, apart: put ours where the Python backend looks for it."""
    python = repository.with_suffix(".backends") / "python"
    python.mkdir(parents=True)
    for part in (TRITON / "backends" / "python").iterdir():
        (python / part.name).symlink_to(part)
    stub = TRITON / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}"
    (python / "triton_python_backend_stub").symlink_to(stub / "triton_python_backend_stub")
    return python.parent


def environment() -> dict[str, str]:
    """The stub embeds an isolated Python: it needs libpython's folder, and takes its packages from PATH's first python.

    Isolated means that PYTHONPATH and PYTHONHOME are not read. Without this environment on PATH it would load whatever
    numpy that other python has: with numpy 2 the stub starts, and miscounts the bytes of every answer.
    """
    libraries = [str(WHEEL.parent / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR")]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries), "PATH": path}


def main(http_port: str, grpc_port: str, instances: str) -> None:
    repository = lay_out_repository(instances)
    binary = str(TRITON / "bin" / "tritonserver")
    repositories = [f"--model-repository={repository}", f"--backend-directory={lay_out_backends(repository)}"]
    http = ["--http-address=127.0.0.1", f"--http-port={http_port}"]
    grpc = ["--grpc-address=127.0.0.1", f"--grpc-port={grpc_port}", "--allow-metrics=false"]
    os.execve(binary, [binary, *repositories, *http, *grpc], environment())  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
