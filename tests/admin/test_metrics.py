from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from support.program import Standing, StandingProgram, admin_of, health_of

from proxy.admin.ports import CredentialView
from proxy.stats import RouteStats
from proxy.tokens.store.memory import MemoryTokenStore


async def _samples(program, served=None):
    async with served or admin_of(program) as running:
        answer = await running.ask("GET", "/metrics")
    assert answer.content_type == "text/plain"
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def _busy_program():
    stats = RouteStats()
    stats.count(b"GET", 200, 0.02)
    stats.count(b"BREW", 418, 0.2)
    stats.retried("unauthorized")
    stats.in_flight = 2
    tokens = Standing(refreshes={"success": 3, "unavailable": 1})
    tokens.durations.observe(0.3)
    program = StandingProgram(crm=CredentialView(type="oauth2", tokens=tokens), key=CredentialView(type="header"))
    program.routes = {"crm": stats}
    program.store = store = MemoryTokenStore()
    store.errors = 4
    return program


async def test_every_family_of_the_contract_is_there_under_its_name():
    samples = await _samples(_busy_program())
    route, credential = ("route", "crm"), ("credential", "crm")

    assert samples["auth_sidecar_http_requests_total", ("code", "200"), ("method", "GET"), route] == 1
    assert samples["auth_sidecar_http_requests_total", ("code", "418"), ("method", "OTHER"), route] == 1
    assert samples["auth_sidecar_http_request_duration_seconds_count", route] == 2
    assert samples["auth_sidecar_http_requests_in_flight", route] == 2
    assert samples["auth_sidecar_request_retries_total", ("reason", "unauthorized"), route] == 1
    assert samples["auth_sidecar_token_refreshes_total", credential, ("result", "success")] == 3
    assert samples["auth_sidecar_token_refreshes_total", credential, ("result", "unavailable")] == 1
    assert samples["auth_sidecar_token_refresh_duration_seconds_count", credential] == 1
    assert samples["auth_sidecar_token_expiry_timestamp_seconds", credential] == 1_800_003_600.9
    assert samples[("auth_sidecar_store_errors_total",)] == 4
    assert samples[("auth_sidecar_config_last_reload_successful",)] == 1
    assert samples["auth_sidecar_build_info", ("version", "1.2.3")] == 1


async def test_buckets_are_cumulative():
    samples = await _samples(_busy_program())
    name, route = "auth_sidecar_http_request_duration_seconds", ("route", "crm")

    assert samples[name + "_bucket", ("le", "0.01"), route] == 0
    assert samples[name + "_bucket", ("le", "0.025"), route] == 1
    assert samples[name + "_bucket", ("le", "0.25"), route] == 2
    assert samples[name + "_bucket", ("le", "+Inf"), route] == 2
    assert round(samples[name + "_sum", route], 6) == 0.22


async def test_a_token_without_an_end_has_no_expiry():
    program = StandingProgram(crm=CredentialView(type="oauth2", tokens=Standing(expires_at=None)))

    samples = await _samples(program)

    assert not [name for name, *_ in samples if name == "auth_sidecar_token_expiry_timestamp_seconds"]


async def test_a_failed_reload_shows():
    program = StandingProgram()
    program.reloaded = False

    assert (await _samples(program))[("auth_sidecar_config_last_reload_successful",)] == 0


async def test_the_health_listener_is_scraped_too():
    program = StandingProgram()

    assert ("auth_sidecar_store_errors_total",) in await _samples(program, health_of(program))
