"""A hook of MkDocs: on the site, a link to a file of the repository outside docs/ is text.

Such links work where the pages are read in the repository, and lead nowhere on the site.
"""

import re
from pathlib import Path
from typing import Any

LINK = re.compile(r'\[([^\]]*)\]\((\.\./[^)#\s]+)(?:#[^)\s]*)?\)')


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """The page's Markdown with its links out of docs/ as text; one to a file that is not there
    stays, so that MkDocs warns of it."""
    docs = Path(config['docs_dir']).resolve()
    here = (docs / page.file.src_uri).parent

    def as_text(link: re.Match[str]) -> str:
        text, target = link[1], (here / link[2]).resolve()
        if target.is_relative_to(docs) or not target.exists():
            return link[0]
        path = target.relative_to(docs.parent)
        known = str(path), path.stem, str(path.parent)  # what the text says already
        return text if text.strip('`') in known else f'{text} (`{path}`)'

    return LINK.sub(as_text, markdown)
