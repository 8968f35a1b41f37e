"""The options of a command, made from the fields of a settings model.

What an option is for and what it is without being given, the field says; what it may be, the model
decides, and tells as one error. Here stands how a terminal writes it.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from inspect import Parameter
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from logllm_core.config import Settings
from logllm_core.errors import LogLLMError

SettingsT = TypeVar("SettingsT", bound=Settings)
# What an option is called and what stands for its value in the help, where that does not follow
# from the field's name.
FLAGS: Mapping[str, tuple[str, str | None]] = {
    "overrides": ("--set", "SETTING=VALUE"),
    "only": ("--only", "NAME"),
    "sizes": ("--size", "BACKBONES"),
    "keep": ("--keep", "SEED"),
    "keep_models": ("--keep", None),
}


def options_of(kind: type[Settings]) -> Iterator[Parameter]:
    """The parameters of a command that takes these settings, the model's own before inherited ones.

    Settings that hold settings, and choices with one possibility, are for deployments alone.
    """
    names = [name for base in kind.__mro__ for name in vars(base).get("__annotations__", ())]
    for name in dict.fromkeys(names):
        field = kind.model_fields.get(name)
        read_as = field and _read_as(field.annotation)
        if field and read_as:
            yield Parameter(
                name,
                Parameter.KEYWORD_ONLY,
                default=None if _is_repeated(field) else field.get_default(),
                annotation=Annotated[read_as, _option(name, field)],
            )


def settings_of(kind: type[SettingsT], given: Mapping[str, Any]) -> SettingsT:
    """The settings that the options `given` make.

    Raises:
        LogLLMError: naming every fault, or a change that is none or is given twice.
    """
    values = dict(given)
    for name in values:
        field = kind.model_fields[name]
        if _is_repeated(field):
            is_tuple = get_origin(field.annotation) is tuple
            values[name] = (tuple if is_tuple else read_changes)(values[name] or ())
    return kind.parse(values, origin="The command line")


def read_changes(given: Sequence[str]) -> dict[str, Any]:
    """`SETTING=VALUE` as names and values; a value is written as in TOML, plain words as they are.

    Raises:
        LogLLMError: one has no "=", or one setting is given twice.
    """
    changes: dict[str, Any] = {}
    for text in given:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not name:
            raise LogLLMError(f'--set {text} is not SETTING=VALUE, such as "beta=0.2".')
        if name in changes:
            raise LogLLMError(f"--set {name} is given twice; give it once.")
        try:
            changes[name] = tomllib.loads(f"value = {value}")["value"]
        except (ValueError, RecursionError):  # no TOML, or beyond what its reader takes
            changes[name] = value
    return changes


def _option(name: str, field: FieldInfo) -> Any:
    flag, metavar = FLAGS.get(name, (f"--{name.removeprefix('num_').replace('_', '-')}", None))
    smallest = next((rule.ge for rule in field.metadata if hasattr(rule, "ge")), None)
    return typer.Option(flag, metavar=metavar, min=smallest, help=field.description)


def _read_as(annotation: Any) -> Any:
    """As what typer reads a value; None for what no option can give."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        (kind,) = (kind for kind in inner if kind is not NoneType)
        return _read_as(kind) | None
    if origin is Literal:
        return str if len(inner) > 1 else None
    if origin in (tuple, Mapping):
        return list[str] | None
    return None if issubclass(annotation, Settings) else annotation


def _is_repeated(field: FieldInfo) -> bool:
    return get_origin(field.annotation) in (tuple, Mapping)
