"""What a peer is: a folder with a peer.toml, and the virtual environment made for it on first use."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
import venv
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
ENVIRONMENTS = CHECKOUT / ".venvs"

DECISIVE = (
    "bentoml", "fastapi", "kserve", "litserve", "mlserver", "nvidia-pytriton", "onnxruntime", "numpy",
    "uvicorn", "uvloop", "httptools", "starlette", "pydantic", "orjson", "pysimdjson", "msgspec",
)  # fmt: skip


class PeerError(Exception):
    """This peer cannot be measured, and its message says why; the others can."""


@dataclass(frozen=True)
class Peer:
    """One row of the comparison.

    command and environment may hold {python}, {port}, {spare_port} and {scratch} (a folder that is emptied afterwards).
    A limit is no competitor: its row is drawn as a line to come close to.
    """

    name: str
    title: str
    dialect: str
    command: list[str]
    routes: dict[str, str]
    limit: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return HERE / self.name.replace("-", "_")

    @property
    def requirements(self) -> Path:
        return self.folder / "requirements.txt"

    @property
    def python(self) -> Path:
        """The project's own where a peer asks for nothing more."""
        if not self.requirements.exists():
            return Path(sys.executable)
        return ENVIRONMENTS / self.name / "bin" / "python"


def read(name: str) -> Peer:
    """The peer that a folder describes: bare-asgi is in bare_asgi/."""
    path = HERE / name.replace("-", "_") / "peer.toml"
    if not path.exists():
        raise PeerError(f"no peer {name!r}: there are {', '.join(names())}")
    return Peer(name=name, **tomllib.loads(path.read_text()))


def names() -> list[str]:
    """Ours first, then the peers, then the limits; each by its name."""
    found = [path.parent.name.replace("_", "-") for path in HERE.glob("*/peer.toml")]
    return sorted(found, key=lambda name: (not name.startswith("ekiben"), name.startswith("bare"), name))


def install(peer: Peer) -> None:
    """Makes the environment, unless it is there and made from these requirements."""
    if not peer.requirements.exists():
        return
    made_from = peer.python.parents[1] / "requirements.sha256"
    wanted = hashlib.sha256(peer.requirements.read_bytes() + sys.version.encode()).hexdigest()
    if made_from.exists() and made_from.read_text() == wanted:
        return
    print(f"{peer.name}: installing {peer.requirements.relative_to(CHECKOUT)}, once", file=sys.stderr)
    shutil.rmtree(made_from.parent, ignore_errors=True)
    venv.create(made_from.parent, with_pip=True)
    pip = [str(peer.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, "-r", str(peer.requirements)], capture_output=True, text=True)
    if done.returncode:
        raise PeerError(f"pip could not install it: {done.stderr.strip()[-600:]}")
    made_from.write_text(wanted)


def versions(peer: Peer) -> dict[str, str]:
    """Of the packages that decide a peer's speed, those that its environment holds."""
    ask = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    done = subprocess.run([str(peer.python), "-c", ask], capture_output=True, text=True, check=True)
    held = {name.lower(): number for name, number in json.loads(done.stdout).items()}
    return {name: held[name] for name in DECISIVE if name in held}
