"""One command for each experiment.

python -m diffmask_training.experiments toy --seeds 5 --to docs/results
"""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tyro

from diffmask_training.errors import TrainingError
from diffmask_training.experiments.alone.experiment import (
    AloneExperiment,
    run_alone,
)
from diffmask_training.experiments.convergence.experiment import (
    ConvergenceExperiment,
    run_convergence,
)
from diffmask_training.experiments.methods.experiment import (
    MethodsExperiment,
    run_methods,
)
from diffmask_training.experiments.report.document import (
    ReportSettings,
    write_report,
)
from diffmask_training.experiments.sentiment.experiment import (
    SentimentExperiment,
    run_sentiment,
)
from diffmask_training.experiments.subsets.experiment import (
    SubsetExperiment,
    run_subsets,
)
from diffmask_training.experiments.switches.experiment import (
    SwitchesExperiment,
    run_switches,
)
from diffmask_training.experiments.toy.experiment import (
    OthersExperiment,
    ProbeExperiment,
    PublishedExperiment,
    run_others,
    run_probe,
    run_published,
)

_COMMANDS: Mapping[str, tuple[type, Callable[[Any], None]]] = {
    "toy": (ProbeExperiment, run_probe),
    "toy-others": (OthersExperiment, run_others),
    "toy-published": (PublishedExperiment, run_published),
    "subsets": (SubsetExperiment, run_subsets),
    "alone": (AloneExperiment, run_alone),
    "methods": (MethodsExperiment, run_methods),
    "convergence": (ConvergenceExperiment, run_convergence),
    "switches": (SwitchesExperiment, run_switches),
    "sentiment": (SentimentExperiment, run_sentiment),
    "report": (ReportSettings, write_report),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: Command line without the program's name; the process's own when None.
    """
    settings: Any = tyro.extras.subcommand_cli_from_dict(
        {name: kind for name, (kind, _) in _COMMANDS.items()},
        args=arguments,
        prog="python -m diffmask_training.experiments",
        description=__doc__,
    )
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    run = next(run for kind, run in _COMMANDS.values() if isinstance(settings, kind))
    try:
        run(settings)
    except TrainingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from here\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
