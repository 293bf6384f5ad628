"""Which configs are the repository's own: those that a page or an index names. What a user puts
beside them is his."""

from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    'README.md',
    'data/README.md',
    'docs/*.md',
    'configs/*/README.md',
    'configs/*/index.json',
    'projects/*/*.md',
    'projects/*/configs/index.json',
)
OWN = ROOT / 'configs/mine.py'  # README's example of a config of the user


@cache
def _pages() -> str:
    return '\n'.join(
        path.read_text(encoding='utf-8') for pattern in PAGES for path in sorted(ROOT.glob(pattern))
    )


def is_named(path: Path) -> bool:
    """A page has the path from the repository's root."""
    return path != OWN and path.relative_to(ROOT).as_posix() in _pages()


def shipped_configs(folder: str = 'configs') -> list[Path]:
    """All below `folder` but the bases, in order."""
    return [
        path
        for path in sorted((ROOT / folder).rglob('*.py'))
        if '_base_' not in path.parts and is_named(path)
    ]
