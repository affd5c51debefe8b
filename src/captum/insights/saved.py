"""One HTML file with examples and answers in it, for whoever has no Python at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from captum.insights.answers import Question
from captum.insights.page import recorded

Tell = Callable[[dict[str, Any]], None]


class Answering(Protocol):
    """What knows examples, and answers questions about them: a session."""

    def start(self) -> dict[str, Any]:
        """What a front end begins with."""

    def example(self, number: int) -> dict[str, Any]:
        """An example, as it is shown."""

    def answer(self, question: Question) -> dict[str, Any]:
        """Scores, as they are shown."""


def page(
    session: Answering,
    examples: Sequence[int],
    questions: Sequence[Question],
    tell: Tell | None = None,
) -> str:
    """The front end with what it may be asked, as an HTML document.

    Args:
        session: who answers.
        examples: the numbers of the examples to show.
        questions: what is answered in advance; other questions get no answer in the file.
        tell: takes how far it is.
    """
    answers = []
    for done, question in enumerate(questions):
        if tell is not None:
            tell({"done": done, "total": len(questions)})
        answers.append(_asked(question) | {"answer": session.answer(question)})
    start = session.start()
    columns = _columns(questions)
    used = {column["method"] for column in columns}
    start["methods"] = [each for each in start["methods"] if each["name"] in used]
    shown = [session.example(number) for number in dict.fromkeys(examples)]
    return recorded({"start": start, "columns": columns, "examples": shown, "answers": answers})


def _asked(question: Question) -> dict[str, Any]:
    return vars(question) | {"fields": dict(question.fields)}


def _columns(questions: Sequence[Question]) -> list[dict[str, Any]]:
    """The different methods and their parameters, in the order they come."""
    columns: list[dict[str, Any]] = []
    for question in questions:
        column = {"method": question.method, "fields": dict(question.fields)}
        if column not in columns:
            columns.append(column)
    return columns
