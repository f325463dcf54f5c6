"""Errors of the training side that a user can cause and can mend.

```
TrainingError
├── ConfigError         a recipe or flag is wrong; names the field
├── DataError           a data file is missing or a row is malformed; names file and
line
├── CheckpointError     a model directory is not what the command needs
├── OutputError         a file or folder cannot be written, on a full disk for one
├── ExportError         the exporter did not make the graph that it should
├── NonFiniteError      a loss or a gradient is not a finite number
├── InfeasibleError     the probe did not converge; export needs an explicit flag
├── ParityError         the exported graph does not agree with PyTorch
├── FidelityError       a graph of lower precision strays; export needs a flag
└── MetricError         arrays that a metric is not defined on
```

Every message names what was wrong and the remedy. `cli.py` prints it as one line and
exits with status 2; a traceback means a bug.
"""


class TrainingError(Exception):
    """Base of every error that `diffmask-train` reports without a traceback."""


class ConfigError(TrainingError):
    """A recipe field or a flag has a value that cannot work."""


class DataError(TrainingError):
    """A data file is missing, unreadable, or holds a malformed row."""


class CheckpointError(TrainingError):
    """A model directory or training checkpoint is not what the command needs."""


class OutputError(TrainingError):
    """A file or folder cannot be written; what was there before is as it was."""


class ExportError(TrainingError):
    """The exporter did not make the graph that it should for a model's family."""


class NonFiniteError(TrainingError):
    """A fit met a loss or a gradient that is not a finite number."""


class InfeasibleError(TrainingError):
    """A probe breaks its constraint or has collapsed, so it is not exported."""


class ParityError(TrainingError):
    """The exported graph and PyTorch disagree by more than the tolerance."""


class FidelityError(TrainingError):
    """A graph of lower precision is not true enough to the fp32 graph."""


class MetricError(TrainingError):
    """A metric was given arrays that it is not defined on."""
