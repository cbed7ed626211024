"""``token``: gives people tokens, lists them, and takes them back."""

from fingerd.daemon.output import print_error, print_result
from fingerd.errors import ConfigError
from fingerd.plans.configuration import PlanConfig, read_plan_config
from fingerd.plans.errors import PlanError
from fingerd.plans.places import open_entry
from fingerd.plans.web.tokens import add_token, list_tokens, revoke_token
from fingerd.text import escape_controls


def add(path: str, name: str, label: str) -> None:
    """Print a new token for a person, who has to be there. One that cannot be printed is taken back."""
    config, file = _read(path)
    with open_entry(config, name):
        pass
    token = add_token(file, name, label)
    try:
        print_result(f"{token}\n")
    except BaseException:
        _take_back(file, name, label)
        raise


def list_all(path: str, name: str | None) -> None:
    """Print the person, the label and the date of each token."""
    _, file = _read(path)
    print_result("".join(f"{token.name}\t{token.label}\t{token.date}\n" for token in list_tokens(file, name)))


def revoke(path: str, name: str, label: str) -> None:
    """Make a token worthless from now on."""
    _, file = _read(path)
    revoke_token(file, name, label)


def _take_back(file: str, name: str, label: str) -> None:
    """Revoke a token that nobody has seen whole; the caller raises what prevented that."""
    try:
        revoke_token(file, name, label)
    except (PlanError, ConfigError) as error:
        print_error(f"fingerd-plan: warning: revoke the new token {escape_controls(label)}: {error}")


def _read(path: str) -> tuple[PlanConfig, str]:
    """The configuration, and where the tokens are. ConfigError if there are none in it."""
    config = read_plan_config(path, ("plan",))
    file = config.settings.plan.tokens if config.settings.plan else None
    if not file:
        raise ConfigError([f"{path}: plan.tokens: required, but not given"])
    return config, file
