"""Refusal of settings that cannot work: all of them at once, each by its name."""

from diffmask_training.errors import ConfigError


def refuse(config: object, *rules: tuple[str, str, bool]) -> None:
    """Raise an error for every rule that does not hold.

    Args:
        config: The settings.
        *rules: Name of a field, what it must be, and whether it is.

    Raises:
        ConfigError: Some rule does not hold.
    """
    wrong = [
        f"{name} must be {rule}, not {getattr(config, name)}"
        for name, rule, is_right in rules
        if not is_right
    ]
    if wrong:
        raise ConfigError("; ".join(wrong))
