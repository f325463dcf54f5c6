"""What the garbage collector need not look at while requests are served."""

import gc


def spare_living() -> None:
    """Take all that lives now out of the collector's rounds.

    A full round looks at every object that may be part of a circle, and no thread runs
    Python meanwhile; almost all of them are modules, models and the server itself,
    which stay. Right after a change of the models is the time: what an earlier call
    spared is looked at again first, so that a model that is gone leaves nothing behind.
    The one full round that this takes comes while models change, not between two
    requests of a quiet hour.

    Source: `gc.freeze` in Python's `gc` documentation.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
