"""Referring expressions by rule, for the annotated instances of a picture.

names     what a category is called          language  what is clearly true of one instance alone
wording   a meaning as a sentence            generate  the sentences of one picture
solver    answers a sentence from the annotation, sharing no code with the generator

Five guards stand against instances that the annotation misses, and against sentences that a reader
could take in two ways:

1. Margins. A sentence is used where a strict reading and a loose reading both give the target
   alone: a ship on the left lies clearly on the left, and no other ship comes near the middle; the
   leftmost leads by 6 % of the side and by half its own width, with its centre and with its outer
   edge; the largest has 1.8 times the area of the next; the second nearest is a third farther,
   between centres and between boxes. So a box that is a little off, or a size or a distance that
   two readers judge differently, changes nothing.
2. No counting: no "only", no ordinals, no "one of two".
3. Missed instances are small, mostly. So the category alone, without a place, needs the one
   instance to be large (8 % of the picture's longer side), and so does "smallest", which moreover
   must not touch the picture's border.
4. Doubtful instances (masks under 64 pixels, under 8 pixels wide, or overlapping another instance
   of the category by an IoU over 0.3) are neither target nor anchor, but still count as
   competitors. Where a picture has a crowd of a category, nothing is said of that category.
5. A category that the annotators clearly covered in part only is left out by the user
   (`--exclude`): the annotation alone cannot tell.

What remains is a missed instance that would itself be named: a ship at the far left that has no
annotation. It is found by looking: tools/data/browse.py draws the triplets.
"""

from .category_names import spoken_names
from .choose import Expression, Limits, expressions_of
from .instance_solver import NotUnderstood, anchors_of, solve

__all__ = [
    'Expression',
    'Limits',
    'NotUnderstood',
    'anchors_of',
    'expressions_of',
    'solve',
    'spoken_names',
]
