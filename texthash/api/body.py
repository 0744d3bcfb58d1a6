"""Base of the objects of a request, and texts in them."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict


class Body(BaseModel):
    """Object of a request; unknown members and values of another type are rejected."""

    model_config = ConfigDict(extra="forbid", strict=True)

    def having(self, **members: Any) -> Self:
        """Return the object with other members, which the server has chosen and which are therefore not validated."""
        return self.model_copy(update=members)


def unicode_text(value: str) -> str:
    """Reject a lone surrogate, which JSON can express but no store and no model accepts."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"is not Unicode text: a lone surrogate at character {error.start}") from None
    return value


Text = Annotated[str, AfterValidator(unicode_text)]
