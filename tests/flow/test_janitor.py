"""Housekeeping: what waited past its deadline is ended, everything else stays."""

import time

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Scheduled

from flows.control import ABORTED, ENDED_AS, EXPIRED
from flows.janitor import janitor
from flows.schemas import JanitorJob


@flow
def waiting(control: dict | None = None):
    return None


def made(client, **control):
    return client.create_flow_run(waiting, parameters={"control": control}, state=Scheduled()).id


def test_only_what_missed_its_deadline_is_ended_and_only_when_meant(home):
    with get_client(sync_client=True) as client:
        late, patient, endless = made(client, complete_in=1), made(client, complete_in=3600), made(client)
        time.sleep(1.1)

        told = janitor(JanitorJob(dry_run=True))
        assert told.expired == [str(late)]
        assert client.read_flow_run(late).state.is_scheduled()

        assert janitor(JanitorJob()).expired == [str(late)]
        ended = client.read_flow_run(late)
        assert ended.state.is_cancelled() and ended.state.message == EXPIRED
        assert ended.labels[ENDED_AS] == ABORTED
        assert all(client.read_flow_run(run).state.is_scheduled() for run in (patient, endless))
        assert janitor(JanitorJob()).expired == []
