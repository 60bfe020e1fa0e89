"""`make bench`: our fast forms against their slow twins and against PyPI's packages, in one run."""

from tests.bench import beliefs, rooms, state_spaces, transformers

CONTESTS = (*state_spaces.CONTESTS, *transformers.CONTESTS, *beliefs.CONTESTS, *rooms.CONTESTS)
"""Functions of ``small``: a contest at a size for tests, or at the size that is measured."""
