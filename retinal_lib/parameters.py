"""A notebook's parameters: a pydantic model of them, and a sentence on a wrong one."""

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from retinal_lib import typed_paths
from retinal_lib.errors import UserError, quoted, unknown, validation_text


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError(f"found {value!r}; expected a number")
    return value


_LARGEST = 10**15  # the vault and the JSON of servers hold numbers of this size
Whole = Annotated[int, BeforeValidator(_no_boolean), Field(ge=-_LARGEST, le=_LARGEST)]
Number = Annotated[float, BeforeValidator(_no_boolean), Field(allow_inf_nan=False)]
TypedPath = Annotated[Path, AfterValidator(typed_paths.resolve)]  # absolute; typed relative to the shell's folder


def check_texts(values: dict[str, object]) -> None:
    """Checks texts that users pass. UserError: one holds a character that no file can hold, or is a number of thousands of
    digits."""
    for name, value in values.items():
        if isinstance(value, int) and abs(value) > 10**1000:  # Python refuses to write some of them
            raise UserError(f"parameter {name}: found {quoted(value)}; expected a shorter one")
        if isinstance(value, str) and (odd := re.search(r"[\0\ud800-\udfff]", value)):
            raise UserError(f"parameter {name}: {value!r} holds {odd[0]!r}, which no file can hold; pass text in UTF-8")


class Parameters(BaseModel):
    """A notebook's parameters with their defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    @classmethod
    def of(cls, **values: object) -> Self:
        """Checks parameters; None counts as not passed. UserError: a name is unknown or a value is impossible."""
        for name in values:
            if name not in cls.model_fields:
                raise unknown("parameter", name, cls.model_fields)
        check_texts(values)
        try:
            return cls(**{name: value for name, value in values.items() if value is not None})
        except ValidationError as error:
            raise UserError(f"parameter {validation_text(error)}") from error

    @classmethod
    def of_known(cls, values: dict[str, object]) -> Self:
        """Checks the parameters that the model has and ignores others. UserError: a value is impossible."""
        return cls.of(**{name: value for name, value in values.items() if name in cls.model_fields})
