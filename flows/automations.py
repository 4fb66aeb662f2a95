"""What Prefect watches for on its own: a step that fails, a run that nobody takes, a dead flow run.

They are made by name, again and again, without doubling. Each only tells: it shows in Prefect's
event feed, and as a message where a notification block is named. One acts: a flow run whose process
died becomes `Crashed` in Prefect. Steps are not touched, since the reconciler knows more of them.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from components.contract import BadInput, EnvironmentMissing, NotFound
from components.settings import Settings
from flows.prefect_client import talking_to
from flows.servers import prefect_url

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.events.schemas.automations import AutomationCore

FAILED = "strata: a step failed"
QUEUED = "strata: a run waits for a worker"
ZOMBIE = "strata: a flow run died"
QUEUED_SECONDS = 1800.0
HEARTBEAT_SECONDS = 180.0
"""Prefect's time between two heartbeats of a flow run, also of one that `strata run` started."""
ZOMBIE_SECONDS = 3 * HEARTBEAT_SECONDS + 60.0
"""Silence after which a flow run counts as dead; a shorter one has killed healthy runs elsewhere
(Prefect #20887).
"""
OUR_RUNS: dict[str, str | list[str]] = {
    "prefect.resource.role": "flow",
    "prefect.resource.name": "train-agentic-llm",
}
_MESSAGE = "{{ automation.name }}: {{ event.resource.name }}"


def automate(settings: Settings, notify: str) -> None:
    """Make the automations and let them tell a notification block, `TYPE/NAME`.

    Raises BadInput for another form, NotFound where Prefect has no such block, and
    EnvironmentMissing without a Prefect server.
    """
    url = prefect_url(settings)
    if url is None:
        raise EnvironmentMissing(
            "automations live in a Prefect server: start one with `strata up`, or set "
            "STRATA_PREFECT"
        )

    async def make() -> None:
        from prefect.client.orchestration import get_client

        async with get_client() as client:
            await ensure(client, notify)

    with talking_to(url):
        asyncio.run(make())


async def ensure(client: PrefectClient, notify: str = "") -> None:
    """Make the automations that are missing and bring the others up to date.

    Whether one is switched off is the user's choice and stays, and so does the block it tells
    unless `notify` names another.
    """
    from prefect.events.actions import SendNotification

    telling: list[Any] = [await _notification(client, notify)] if notify else []
    for wanted in automations():
        found, *doubles = await client.read_automations_by_name(wanted.name) or [None]
        told = telling
        if found is not None and not notify:
            told = [action for action in found.actions if isinstance(action, SendNotification)]
        wanted.actions = [*wanted.actions, *told]
        if found is None:
            await client.create_automation(wanted)
        else:
            wanted.enabled = found.enabled
            await client.update_automation(found.id, wanted)
        for double in doubles:  # two workers started at the same moment
            if double is not None:
                await client.delete_automation(double.id)


def automations() -> tuple[AutomationCore, ...]:
    """Return what is watched for, without anyone to tell."""
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState, DoNothing
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    each = {"prefect.resource.id"}

    def silence(after: str, seconds: float) -> EventTrigger:
        """Watch for a flow run of which nothing is heard for so long after an event."""
        return EventTrigger(
            after={after},
            expect={"prefect.flow-run.*"},
            match_related=OUR_RUNS,
            for_each=each,
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=seconds),
        )

    crashed = ChangeFlowRunState(
        name=None,
        state=StateType.CRASHED,
        force=False,
        message="its process gave no sign of life; its steps go on, the same command adopts them",
    )
    return (
        AutomationCore(
            name=FAILED,
            description="A step of a run ended in failure.",
            trigger=EventTrigger(
                expect={"prefect.task-run.Failed", "prefect.task-run.Crashed"},
                match_related=OUR_RUNS,
                for_each=each,
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[DoNothing()],
        ),
        AutomationCore(
            name=QUEUED,
            description="No worker took a run for half an hour after its time.",
            trigger=silence("prefect.flow-run.Late", QUEUED_SECONDS),
            actions=[DoNothing()],
        ),
        AutomationCore(
            name=ZOMBIE,
            description="A flow run missed three heartbeats: its process is dead.",
            trigger=silence("prefect.flow-run.heartbeat", ZOMBIE_SECONDS),
            actions=[crashed],
        ),
    )


async def _notification(client: PrefectClient, notify: str) -> Any:
    from prefect.events.actions import SendNotification
    from prefect.exceptions import ObjectNotFound

    kind, slash, name = notify.partition("/")
    if not (kind and slash and name):
        raise BadInput(
            f"{notify!r} names no notification block: write TYPE/NAME, such as slack-webhook/team"
        )
    try:
        block = await client.read_block_document_by_name(name, kind, include_secrets=False)
    except ObjectNotFound:
        raise NotFound(
            f"Prefect has no block {notify}: make it under Blocks in Prefect's pages, then run the "
            "command again"
        ) from None
    return SendNotification(block_document_id=block.id, subject="Strata", body=_MESSAGE)
