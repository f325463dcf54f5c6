"""Settings of what is served, and where."""

from dataclasses import dataclass
from pathlib import Path

from diffmask_service.config.setting import setting
from diffmask_service.engine.limits import Device


@dataclass(frozen=True, kw_only=True)
class ServingConfig:
    """What is served, on which addresses and on which device."""

    bundle: Path = setting(  # noqa: RUF009 - a field, made once
        "Directory of the bundle to serve, if it is one; there is no default.",
        default=Path(),
    )
    repository: Path = setting(  # noqa: RUF009 - a field, made once
        "Folder of the bundles to serve, if they are several, as MODEL/VERSION with the"
        " version's number; there is no default. On SIGHUP it is looked at again.",
        default=Path(),
    )
    max_versions: int = setting(
        "Versions of each model that stay loaded, the highest first. With more, callers"
        " may name an older one; each takes the memory of a model.",
        default=1,
        at_least=1,
        at_most=64,
    )
    poll_seconds: float = setting(
        "Time between two looks for new versions, seconds; 0 for none but on SIGHUP."
        " Shorter finds them sooner and reads the folders more often. Put versions in"
        " place by renaming, or they are seen half written.",
        default=0.0,
        at_least=0.0,
        at_most=86_400.0,
    )
    model_control: bool = setting(
        "Whether callers may have models loaded and unloaded. Whoever reaches the port"
        " can then take a model out of service.",
        default=False,
    )
    precision: str = setting(
        "Which of the bundle's graphs to run; empty for the bundle's choice. Lower"
        " precision is faster and answers a little differently.",
        default="",
        choices=("", "fp32", "fp16", "int8", "w8"),
    )
    host: str = setting(
        "Address to listen on. 0.0.0.0 reaches other machines, and asks for TLS and"
        " tokens or client certificates.",
        default="127.0.0.1",
    )
    grpc_port: int = setting(
        "Port for gRPC; 0 lets the system choose.",
        default=8081,
        at_least=0,
        at_most=65535,
    )
    metrics_port: int = setting(
        "Port for /metrics and the console over HTTP; 0 lets the system choose.",
        default=8082,
        at_least=0,
        at_most=65535,
    )
    console: bool = setting(
        "Whether the HTTP listener has a page for trying texts and watching the server"
        " at /console/, and takes calls for it. They ask for the tokens that gRPC asks"
        " for. Needs the extra console.",
        default=False,
    )
    device: Device = setting(  # noqa: RUF009 - a field, made once
        "Where to run the model; auto takes a GPU where ONNX Runtime offers one. cuda"
        " refuses to start without one, which auto would hide.",
        default="auto",
        choices=("auto", "cpu", "cuda"),
    )
    health_port: int = setting(
        "Port for gRPC health checks in plain text and without a token, opened when TLS"
        " or inference tokens are on; 0 lets the system choose.",
        default=8083,
        at_least=0,
        at_most=65535,
    )

    def misplaced(self) -> list[str]:
        """Return what is wrong with where the models are to be found."""
        is_one, is_many = self.bundle != Path(), self.repository != Path()
        if is_one and is_many:
            return ["--bundle: and --repository are both given; serve one of them"]
        if not is_one and not is_many:
            return [
                "--bundle: is missing; name the directory of a bundle, or with"
                " --repository a folder of several"
            ]
        return []
