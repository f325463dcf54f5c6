"""What health says of models, and of the server that holds them."""

from diffmask_service.repository import ModelState, Repository
from diffmask_service.transport.grpc.health import HealthServicer


def tell_of_models(repository: Repository, health: HealthServicer) -> None:
    """Have health say of each model and version whether it answers, from now on."""

    def tell(name: str, version: str, is_ready: bool) -> None:  # noqa: FBT001
        states = {
            entry.version: entry.state
            for entry in repository.index()
            if entry.name == name
        }
        if version in states:
            health.set_model_ready(f"{name}/{version}", is_ready=is_ready)
        else:
            health.forget_model(f"{name}/{version}")
        if states:
            health.set_model_ready(name, is_ready=ModelState.READY in states.values())
        else:
            health.forget_model(name)

    repository.subscribe(tell)


def tell_of_server(repository: Repository, health: HealthServicer) -> None:
    """Have health say whether the server as a whole is ready, from now on.

    It is once all that can be loaded has been, and while some of it answers.
    """

    def tell(_name: str, _version: str, _is_ready: bool) -> None:  # noqa: FBT001
        health.set_ready(repository.is_ready)

    repository.subscribe(tell)
