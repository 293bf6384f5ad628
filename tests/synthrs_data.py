"""One small dataset on disk, in all three layouts, for the tests of this folder."""

import pytest

from rsrefseg2.synthrs.generation.build import Recipe, build

SCENES = {'train': 12, 'val': 3, 'test': 6}
PER_LEVEL = {'train': 2, 'val': 1, 'test': 1}


def recipe(**changes):
    options = dict(
        scenes=SCENES, per_level=PER_LEVEL, seed=3, layouts=('rrsisd', 'refsegrs', 'risbench')
    )
    return Recipe(**{**options, **changes})


@pytest.fixture(scope='session')
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp('synthrs') / 'data'
    build(out, recipe())
    return out
