"""The settings of the chain, beside those that every service has."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bentos import contract
from bentos.contract import Image, Model
from serving.settings import Settings, setting

TRANSPORTS = ("http", "volume")


@dataclass(frozen=True)
class ChainSettings(Settings):
    """What the operator of a chain may set; `ChainSettings.read()` takes it from the environment."""

    chain_model: str = setting("", "the model whose pipeline is cut; it must be one that takes an uploaded file")
    chain_transport: str = setting(
        "http", "how a stage hands over what it asks: in the HTTP message, or in a file of the volume", of=TRANSPORTS
    )
    chain_volume: str = setting("", "folder that the stages share, for files; read where it is set")
    chain_preprocess_at: str = setting("127.0.0.1:5002", "replicas of preprocess, as host:port, comma-separated")
    chain_model_at: str = setting("127.0.0.1:5001", "replicas of model; a host stands for all its addresses in DNS")
    chain_timeout_ms: float = setting(5000.0, "milliseconds that the whole chain has for a request", least=1)
    chain_max_requests: int = setting(
        32, "requests that a stage's worker has under way at most; more are answered 429", least=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chain_transport == "volume" and not self.chain_volume:
            raise ValueError("EKIBEN_CHAIN_TRANSPORT=volume needs EKIBEN_CHAIN_VOLUME, a folder that the stages share")
        for name in ("chain_preprocess_at", "chain_model_at"):
            try:
                addresses(getattr(self, name))
            except ValueError as error:
                raise ValueError(f"EKIBEN_{name.upper()}={getattr(self, name)}: {error}") from None

    def chained(self) -> Model:
        """The model whose pipeline is cut. ValueError where there is none such, or it takes no file."""
        files = [name for name in contract.names() if isinstance(contract.model(name).payload, Image)]
        if self.chain_model not in files:
            raise ValueError(
                f"EKIBEN_CHAIN_MODEL={self.chain_model} must be a model that takes a file: there is {', '.join(files)}"
            )
        return contract.model(self.chain_model)

    def of_the_model(self) -> ChainSettings:
        """The same, for a service that serves the chained model and no other."""
        return replace(self, models=self.chained().name)


def addresses(text: str) -> list[tuple[str, int]]:
    """`model:5001, other:5001` → hosts and ports. ValueError names what is no address."""
    pairs = []
    for word in text.split(","):
        host, _, port = word.strip().rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{word.strip()!r} must be host:port")
        pairs.append((host, int(port)))
    return pairs
