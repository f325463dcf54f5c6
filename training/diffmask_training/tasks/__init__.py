"""What a model predicts, and all that follows from it: the one list of tasks.

A task says how the model's output becomes one tensor, how far a masked prediction lies
from the original one, what counts as the same prediction, and which figures tell how
good predictions are. Nothing else in the package asks which task it serves.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from transformers import PreTrainedModel

from diffmask_service.bundle import TaskName
from diffmask_training.errors import CheckpointError
from diffmask_training.tasks.spans import QuestionAnswering
from diffmask_training.tasks.task import Quality, TaskOf
from diffmask_training.tasks.texts import (
    MultiLabelClassification,
    Regression,
    TextClassification,
)
from diffmask_training.tasks.words import TokenClassification

__all__ = ["Quality", "Task", "task_named", "task_of"]

# Whatever its predictions are.
Task: TypeAlias = TaskOf[Any]
_TASK_BY_NAME: Mapping[TaskName, Task] = {
    "text_classification": TextClassification(),
    "multi_label_classification": MultiLabelClassification(),
    "regression": Regression(),
    "token_classification": TokenClassification(),
    "question_answering": QuestionAnswering(),
}
_TASK_BY_PROBLEM: Mapping[str, TaskName] = {
    task.problem: name for name, task in _TASK_BY_NAME.items() if task.problem
}


def task_named(name: TaskName) -> Task:
    """Return a task as it is before anything was measured."""
    return _TASK_BY_NAME[name]


def task_of(model: PreTrainedModel) -> Task:
    """Return what a model predicts, as its class and its configuration tell.

    A sequence classifier whose configuration names no problem has one label that holds,
    or a value if it has one output, which is the library's own rule.

    Raises:
        CheckpointError: It has another head, or more than one value.
    """
    name = type(model).__name__
    if name.endswith("ForTokenClassification"):
        task = task_named("token_classification")
        return task.with_labels(task.labels(model.config))
    if name.endswith("ForQuestionAnswering"):
        return task_named("question_answering")
    if not name.endswith("ForSequenceClassification"):
        raise CheckpointError(
            f"{name} has no head for sequence classification, token classification or"
            " question answering"
        )
    num_labels = int(model.config.num_labels or 0)
    problem = model.config.problem_type or (
        "regression" if num_labels == 1 else "single_label_classification"
    )
    found = _TASK_BY_PROBLEM[problem]
    if found == "regression" and num_labels > 1:
        raise CheckpointError(
            f"the model predicts {num_labels} values; one alone is supported"
        )
    if found == "text_classification" and num_labels == 1:
        raise CheckpointError("the model has one label; there is nothing to choose")
    return task_named(found)
