"""The whole program on a clock that lies: stepped by an operator, asleep with its machine. Only time is a double."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from email.utils import formatdate

import jwt
import pytest
import yaml
from support.clock import FakeClock
from support.process import free_port
from support.running import Running
from support.settings import client_credentials, one_route

from proxy.app import App
from proxy.config.load import load
from proxy.sandbox.sandbox_server import Sandbox, SandboxOptions


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def sandbox(clock):
    async with Sandbox(SandboxOptions(port=0), clock=clock) as running:
        yield running


@pytest.fixture
async def get(sandbox, clock, tmp_path, fetch):
    """The status of one request through the program."""
    config = one_route(sandbox.url + "/api", client_credentials(sandbox.token_endpoint))
    port = free_port()
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({**config, "listen": f"127.0.0.1:{port}", "admin": {"listen": "off"}}))
    app = App(file, load(file, {}), {}, clock)
    await app.start()
    running = asyncio.create_task(app.run())

    async def one():
        return (await fetch(f"http://127.0.0.1:{port}/api/x"))[0]

    yield one
    app.quit()
    await running


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
def granted(sandbox):
    """How many tokens were issued so far."""
    return lambda: sandbox.counters.grants.get("client_credentials", 0)


async def test_a_token_is_renewed_ahead_of_its_expiry_without_any_traffic(get, clock, sandbox, granted):
    await until(lambda: granted() == 1)
    await clock.advance(3600 * 0.89)
    assert granted() == 1
    await clock.advance(3600 * 0.02)
    await until(lambda: granted() == 2)
    assert await get() == 200
    assert sandbox.counters.token_requests.total == 2


async def test_after_a_suspend_the_first_request_waits_for_a_new_token(get, clock, sandbox, granted):
    """A8."""
    assert await get() == 200
    clock.suspend(4000)
    assert await get() == 200
    assert (granted(), sandbox.counters.api_unauthorized) == (2, 0)


@pytest.mark.parametrize("step", [-86400, -3600, 60])
async def test_a_small_or_backward_step_of_the_wall_clock_costs_nothing(get, clock, sandbox, granted, step):
    assert await get() == 200
    clock.step_wall(step)
    assert await get() == 200
    assert (granted(), sandbox.counters.api_unauthorized) == (1, 0)


async def test_a_backward_step_does_not_prolong_a_token(get, clock, sandbox, granted):
    """A8."""
    assert await get() == 200
    clock.step_wall(-86400)
    clock.suspend(3601)
    assert await get() == 200
    assert (granted(), sandbox.counters.api_unauthorized) == (2, 0)


async def test_a_step_past_the_expiry_costs_one_renewal(get, clock, sandbox, granted):
    assert await get() == 200
    clock.step_wall(86400)
    assert [await get() for _ in range(3)] == [200] * 3
    assert (granted(), sandbox.counters.api_unauthorized) == (2, 0)


# ---- a restart, with the clock put right ----------------------------------------------------------------------------


@pytest.fixture
def run(sandbox, tmp_path):
    """The program with files of its own, on a clock that a test gives it."""

    @asynccontextmanager
    async def started(clock, **more):
        credential = client_credentials(sandbox.token_endpoint, update={"secret": {"value": "guard"}}, **more)
        config = one_route(sandbox.url + "/api", credential)
        config["store"] = {"type": "file", "path": str(tmp_path / "tokens")}
        async with Running(config, tmp_path, clock=clock) as program:
            yield program

    return started


@pytest.mark.parametrize("lazy", [True, False])
async def test_a_token_that_was_stored_under_a_wrong_clock_is_not_sent_when_it_has_ended(run, clock, sandbox, lazy):
    more = {"refresh": {"eager": False}} if lazy else {}
    async with run(FakeClock(wall=clock.wall() + 86400), **more) as program:
        assert (await program.ask(program.url + "/api/x"))[0] == 200
    clock.suspend(7200)
    async with run(FakeClock(wall=clock.wall(), elapsed=5.0), **more) as program:
        assert (await program.ask(program.url + "/api/x"))[0] == 200
        told = await program.status("main")
        assert (told["state"], told["expires_at"] <= clock.wall() + 3600) == ("fresh", True)
    assert sandbox.counters.api_unauthorized == 0


async def test_a_right_push_is_taken_though_what_is_stored_is_from_tomorrow(run, clock, sandbox):
    async with run(FakeClock(wall=clock.wall() + 86400)) as program:
        assert (await program.ask(program.url + "/api/x"))[0] == 200
    sandbox.script.change(token_faults=[{"kind": "status", "status": 503}] * 50)
    async with run(FakeClock(wall=clock.wall(), elapsed=5.0)) as program:
        code, _, _ = await program.ask(
            program.admin + "/credentials/main/token",
            "PUT",
            headers={"Authorization": "Bearer guard"},
            json={"token": {"access_token": "pushed", "expires_in": 3600}, "timestamp": int(clock.wall()) - 5},
        )
        assert code == 200


# ---- tokens that are dated here -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "ahead"), [(0, 0), (300, 0), (0, 86400), (300, 86400)])
async def test_a_token_that_is_signed_here_is_dated_now_whatever_became_of_the_one_before(
    clock, upstream, tmp_path, age, ahead
):
    """Refused in its old age, or dated by a clock that has been put right since."""
    key = "a key that is long enough for HS256"
    signed = {"type": "jwt", "key": {"value": key}, "alg": "HS256", "claims": {"iss": "1"}}

    def judge(_):
        date = f"Date: {formatdate(clock.wall(), usegmt=True)}\r\n".encode()
        if len(upstream.requests) == 2:
            return (b"HTTP/1.1 401 Unauthorized\r\n" + date + b"Content-Length: 0\r\n\r\n",)
        return (b"HTTP/1.1 200 OK\r\n" + date + b"Content-Length: 0\r\n\r\n",)

    upstream.answer = judge
    clock.step_wall(ahead)
    async with Running(one_route(upstream.url, signed), tmp_path, clock=clock) as program:
        assert (await program.ask(program.url + "/api/x"))[0] == 200
        clock.step_wall(-ahead)
        await clock.advance(age)
        assert (await program.ask(program.url + "/api/x"))[0] == 200
    sent = upstream.requests[-1].field(b"authorization").decode().removeprefix("Bearer ")
    claims = jwt.decode(sent, options={"verify_signature": False})
    assert -60 <= claims["iat"] - clock.wall() <= -1
