"""Numbers that a constructor takes, with their range: `n_p: PositiveInt`. What is declared here is
checked in a config before anything is built (`engine/config_values.py`)."""

from __future__ import annotations

import sys
from typing import Annotated

from msgspec import Meta

LARGEST = sys.float_info.max  # what is not above it is finite
PositiveInt = Annotated[int, Meta(ge=1)]
NonNegativeInt = Annotated[int, Meta(ge=0)]
PositiveFloat = Annotated[float, Meta(gt=0, le=LARGEST)]
NonNegativeFloat = Annotated[float, Meta(ge=0, le=LARGEST)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
BelowOne = Annotated[float, Meta(ge=0, lt=1)]
