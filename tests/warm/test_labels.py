"""Labels of one run that are written at the same time: none is lost, on either database."""

import asyncio
from contextlib import nullcontext

import httpx
import pytest
from own_postgres import own_database
from stage import serving

pytestmark = pytest.mark.stack
COUNT = 40


@pytest.mark.parametrize("database", [nullcontext, own_database], ids=["sqlite", "postgresql"])
def test_labels_written_at_the_same_time_are_all_kept(tmp_path, database):
    with database() as address, serving(tmp_path, address) as server:
        with server.client() as client:
            deployment = client.create_deployment(
                flow_id=client.create_flow_from_name("labelled"), name="one"
            )
            run = client.create_flow_run_from_deployment(deployment).id

        async def write_all():
            async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
                answers = await asyncio.gather(
                    *(
                        http.patch(f"{server.url}/flow_runs/{run}/labels", json={f"label.{number}": number})
                        for number in range(COUNT)
                    )
                )
            assert {answer.status_code for answer in answers} == {204}

        asyncio.run(write_all())
        with server.client() as client:
            labels = client.read_flow_run(run).labels
        assert {name for name in labels if name.startswith("label.")} == {f"label.{n}" for n in range(COUNT)}
