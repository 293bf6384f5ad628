"""The three levels' files are those of version 2, byte for byte."""

import hashlib
import json
from pathlib import Path

import cv2

from rsrefseg2.synthrs.generation.build import build
from tests.synthrs_data import recipe

FIXTURE = Path(__file__).parent / 'old_files.json'
SCENES = {'train': 3, 'val': 1, 'test': 1}
LAYOUTS = ('rrsisd', 'refsegrs', 'risbench', 'jsonl')


def hashes(root):
    """File -> SHA-256, of text and pickle by their bytes, of lossless pictures by their pixels."""
    found = {}
    for path in sorted(root.rglob('*')):
        name = path.relative_to(root).as_posix()
        if path.suffix in ('.jsonl', '.json', '.txt', '.p'):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif name.startswith('risbench/') and path.is_file():
            pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            found[name] = hashlib.sha256(pixels.tobytes()).hexdigest()
    return found


def test_old_arguments_give_the_old_files(tmp_path):
    build(tmp_path / 'old', recipe(scenes=SCENES, seed=7, layouts=LAYOUTS))
    assert hashes(tmp_path / 'old') == json.loads(FIXTURE.read_text(encoding='utf-8'))
