"""Base of the objects of a request, and texts in them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict


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
DocumentField = Literal["title", "text", "labels", "attributes"]


def whole(value: Any) -> Any:
    """Return 4.0 as 4: JSON has one kind of number, and some programs write all of them with a fraction."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(whole)]


def without_repeats(values: list[Any]) -> list[Any]:
    """Return a list in which each value occurs once, at its first place."""
    return list(dict.fromkeys(values))


def name_keys(schema: dict[str, Any]) -> None:
    """Make the JSON schema of a model say that no key of its mappings has another form than the stated one."""
    for member in schema["properties"].values():
        for one in (member, *member.get("anyOf", ())):
            if patterns := one.pop("patternProperties", None):
                ((pattern, value),) = patterns.items()
                one.update({"propertyNames": {"pattern": pattern}, "additionalProperties": value})
