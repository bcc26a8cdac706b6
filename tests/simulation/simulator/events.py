"""Events of the simulated server: subscribers and automations get them late, twice, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from flows.orchestration.child_events import END_EVENTS
from flows.prefect_state.labels import parent_tag
from simulator.world import World, wait


@dataclass(eq=False)
class Subscription:
    """One connected event stream."""

    names: tuple[str, ...]
    prefixes: tuple[str, ...]
    resources: tuple[str, ...]
    queue: "asyncio.Queue[Any]" = field(default_factory=asyncio.Queue)

    def wants(self, event: Any) -> bool:
        if self.names and event.event not in self.names:
            return False
        if self.prefixes and not event.event.startswith(self.prefixes):
            return False
        ids = {event.resource.id, *(part.id for part in event.related)}
        return not self.resources or not ids.isdisjoint(self.resources)


class EventBus:
    """Delivers events with faults."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lost_share = 0.0
        self.doubled_share = 0.0
        self.subscriptions: list[Subscription] = []
        self.stored: list[Any] = []
        self.on_event: Callable[[Any], None] = lambda event: None
        """The automations."""

    def emit(
        self, name: str, resource: str, related: list[tuple[str, str]] | None = None, payload: Any = None
    ) -> None:
        """Store an event, and deliver it to subscribers and automations."""
        if related is None:
            related = []
        event = SimpleNamespace(
            id=self.world.uuid(),
            event=name,
            resource=SimpleNamespace(id=resource),
            related=[SimpleNamespace(role=role, id=part) for role, part in related],
            payload=payload or {},
            occurred=self.world.wall(),
        )
        self.stored.append(event)
        for subscription in self.subscriptions:
            if subscription.wants(event):
                self._deliver(lambda one=subscription: one.queue.put_nowait(event))
        self._deliver(lambda: self.on_event(event))

    def _deliver(self, hand_over: Callable[[], None]) -> None:
        random, times = self.world.random, 1
        if not self.world.faults_ended:
            if random.random() < self.lost_share:
                self.world.cover("event lost")
                return
            if random.random() < self.doubled_share:
                self.world.cover("event doubled")
                times = 2
        for _ in range(times):
            delay_s = (
                random.choice((0.005, 0.02, 0.1, 0.5)) if self.world.faults_ended else random.expovariate(3)
            )
            self.world.loop.call_later(delay_s, hand_over)

    def disconnect_all(self) -> None:
        """Break all event streams, as a restart of the server does."""
        for subscription in self.subscriptions:
            subscription.queue.put_nowait(None)
        self.subscriptions.clear()

    def read(self, conditions: Any, limit: int) -> Any:
        """Return stored events of a resource by name, newest first."""
        names, ids = set(conditions.event.name), set(conditions.resource.id)
        since, until = conditions.occurred.since, conditions.occurred.until
        found = [
            event
            for event in reversed(self.stored)
            if event.event in names and event.resource.id in ids and since <= event.occurred <= until
        ]
        return SimpleNamespace(events=found[:limit])


class Subscriber:
    """The result of `get_events_subscriber`: an asynchronous context manager and iterator of events."""

    def __init__(self, bus: EventBus, conditions: Any, is_up: Callable[[], bool]) -> None:
        self._bus, self._is_up = bus, is_up
        name, any_resource = conditions.event, conditions.any_resource
        self._subscription = Subscription(
            tuple(name.name or ()) if name else (),
            tuple(name.prefix or ()) if name else (),
            tuple(any_resource.id or ()) if any_resource else (),
        )

    async def __aenter__(self) -> AsyncIterator[Any]:
        await self._bus.world.sleep(0.01)
        if not self._is_up():
            raise ConnectionError("the server cannot be reached")
        self._bus.subscriptions.append(self._subscription)
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        if self._subscription in self._bus.subscriptions:
            self._bus.subscriptions.remove(self._subscription)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        event = await self._subscription.queue.get()
        await self._bus.world.step()
        if event is None:
            raise ConnectionError("the event stream broke")
        return event


class ChildEvents:
    """`ChildEvents` of the product, which has a thread and an event loop of its own."""

    def __init__(self, bus: EventBus, parents: Iterable[UUID], is_up: Callable[[], bool]) -> None:
        self._bus, self._is_up = bus, is_up
        tags = tuple(f"prefect.tag.{parent_tag(run)}" for run in parents)
        self._subscription = Subscription(END_EVENTS, (), tags)

    @property
    def is_listening(self) -> bool:
        return self._subscription in self._bus.subscriptions

    def __enter__(self) -> "ChildEvents":
        return self

    def __exit__(self, *exc_info: Any) -> None:
        if self.is_listening:
            self._bus.subscriptions.remove(self._subscription)

    def wait(self, seconds: float) -> set[UUID | None]:
        queue, ended = self._subscription.queue, set[UUID | None]()
        if not self.is_listening and self._is_up():
            self._bus.subscriptions.append(self._subscription)
            ended.add(None)
        try:
            events = [wait(asyncio.wait_for(queue.get(), max(0.001, seconds)))]
        except TimeoutError:
            return ended
        while not queue.empty():
            events.append(queue.get_nowait())
        ended |= {UUID(event.resource.id.removeprefix("prefect.flow-run.")) for event in events if event}
        if any(events):
            self._bus.world.cover("child job's end by event")
        return ended
