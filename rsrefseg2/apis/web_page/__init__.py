"""The web page of `rsrefseg2 demo`: drop a picture, ask in words, see where and how."""

from .session import Reply, Session, Sessions

__all__ = ['Reply', 'Session', 'Sessions']
