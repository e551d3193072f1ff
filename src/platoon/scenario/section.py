"""What all sections of a scenario share: frozen tables, and the ranges that many keys have."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0.0, le=1e6)]
Tokens = Annotated[float, Field(ge=0.0, le=1e9)]


class Section(BaseModel):
    """A table of the scenario: frozen, and closed against unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
