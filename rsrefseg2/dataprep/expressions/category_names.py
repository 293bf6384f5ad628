"""What the categories of an annotation file are called in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ...errors import UserError

# By the letters of the name alone: files write storage_tank, storagetank, Storage-Tank.
_NAMES = {
    'airplane': ('airplane', 'plane'),
    'plane': ('airplane', 'plane'),
    'ship': ('ship',),
    'storagetank': ('storage tank', 'tank'),
    'vehicle': ('vehicle',),
    'baseballdiamond': ('baseball diamond', 'baseball field'),
    'baseballfield': ('baseball field', 'baseball diamond'),
    'tenniscourt': ('tennis court',),
    'basketballcourt': ('basketball court',),
    'harbor': ('harbor',),
    'bridge': ('bridge',),
    'groundtrackfield': ('ground track field',),
    'expresswayservicearea': ('expressway service area',),
    'expresswaytollstation': ('expressway toll station', 'toll station'),
    'golffield': ('golf field', 'golf course'),
    'golfcourse': ('golf course', 'golf field'),
    'trainstation': ('train station',),
    'swimmingpool': ('swimming pool', 'pool'),
    'soccerballfield': ('soccer ball field', 'soccer field'),
    'windmill': ('windmill',),
    'smallvehicle': ('small vehicle',),
    'largevehicle': ('large vehicle',),
}


def spoken_names(
    categories: Iterable[str], *, given: Mapping[str, Iterable[str]] | None = None
) -> dict[str, tuple[str, ...]]:
    """category -> its names in sentences: those given, else those known, else the words of the
    category's own name in lower case. A name that two categories share is an error."""
    given = given or {}
    spoken: dict[str, tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    for category in categories:
        letters = re.sub(r'[^a-z]', '', category.lower())
        own = re.sub(r'(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+', ' ', category).lower().strip()
        spoken[category] = tuple(given.get(category) or _NAMES.get(letters) or (own,))
        for name in spoken[category]:
            if not re.fullmatch(r"[a-z0-9][a-z0-9' -]*", name):
                raise UserError(
                    f'category {category!r} has the name {name!r}, which is no plain '
                    'lower-case words: give it names by --names'
                )
            if owner.setdefault(name, category) != category:
                raise UserError(
                    f'categories {owner[name]!r} and {category!r} are both called '
                    f'{name!r}: give them different names by --names'
                )
    unknown = sorted(set(given) - set(spoken))
    if unknown:
        raise UserError(
            f'--names speaks of {", ".join(unknown)}, which the annotation file does '
            f'not have; it has {", ".join(spoken)}'
        )
    return spoken
