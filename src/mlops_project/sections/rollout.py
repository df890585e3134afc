"""The section about roll-outs of challengers."""

from typing import Annotated, Literal

from msgspec import Meta

from mlops_project.sections.section import Section


class RolloutConfig(Section, frozen=True, dict=True):
    """How a challenger is rolled out with `serving.challenger: canary`, by `mlops monitor`."""

    steps: Annotated[
        tuple[Annotated[float, Meta(gt=0, lt=1)], ...],
        Meta(
            min_length=1,
            max_length=20,
            description="Shares of the requests that the challenger answers, one after the other, rising; after the last it "
            "becomes champion.",
        ),
    ] = (0.05, 0.25, 0.5)
    step_minutes: Annotated[float, Meta(ge=0, description="How long each step lasts at least.")] = 10.0
    max_hours: Annotated[
        float, Meta(gt=0, description="A challenger that is not champion after this time goes back; a pause does not count.")
    ] = 72.0
    alpha: Annotated[
        float,
        Meta(gt=0, lt=0.5, description="Probability that a challenger within all bounds goes back, over a whole roll-out."),
    ] = 0.01
    max_failures: Annotated[
        float,
        Meta(gt=0, lt=0.5, description="Share of its requests that it may fail to answer where the champion can."),
    ] = 0.01
    max_slower: Annotated[
        float,
        Meta(gt=0, description="How much longer than the champion's 95th percentile its own may be; under 1 ms never counts."),
    ] = 0.25
    max_loss: Annotated[
        float,
        Meta(
            gt=0,
            lt=0.5,
            description="How many more of its answers may be wrong, or its sets and intervals miss the truth, than the "
            "champion's; as a share of all answers. For numbers: of errors, four times the champion's held-out RMSE being 1.",
        ),
    ] = 0.02
    evidence: Annotated[
        Literal["required", "available", "until-refuted"],
        Meta(
            description="Whether a step waits until answers are *shown* to be good enough: at the next step at most `max_loss` "
            "of all requests more may be wrong. `required`: by labels. `available`: by labels if any ever came for this model, "
            "else by estimates, and not where there are none (numbers). `until-refuted`: never; labels only take it back."
        ),
    ] = "available"
    min_labels: Annotated[
        int,
        Meta(
            ge=0,
            description="So many requests that the challenger answered must have labels before it becomes champion, whatever "
            "`evidence` says; 0: no number is asked for.",
        ),
    ] = 0
    key_header: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]+\Z", max_length=64)] | None,
        Meta(
            description="Header (over gRPC metadata) whose value always gets the same variant, such as `X-Customer-Id`. "
            "Requests without it get the champion.",
            extra={"expected": "a header's name such as X-Customer-Id"},
        ),
    ] = None
    key_column: Annotated[
        str | None, Meta(description="The same with a column of the model; in a request of several rows the first row's.")
    ] = None

    def find_problem(self) -> str:
        """Say what is wrong with settings that exclude each other; empty if nothing is."""
        if list(self.steps) != sorted(set(self.steps)):
            return f"rollout.steps: {list(self.steps)} do not rise; give shares such as [0.05, 0.25, 0.5]"
        if self.key_header and self.key_column:
            return "rollout.key_header and rollout.key_column exclude each other; remove one"
        return ""
