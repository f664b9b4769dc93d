from __future__ import annotations

from support.program import StandingProgram, admin_of


async def _post(program, path):
    async with admin_of(program) as served:
        answer = await served.ask("POST", path)
        return answer.status, answer.json()


async def test_a_reload_is_told_when_it_is_done():
    program = StandingProgram()

    assert await _post(program, "/reload") == (200, {"reloaded": True})
    assert program.reloads == 1


async def test_a_configuration_with_mistakes_is_refused_with_the_whole_report():
    program = StandingProgram()
    program.mistake = "config.yaml:3:5: unknown key 'upsteam'\nconfig.yaml:9:1: unknown key 'x'"

    status, document = await _post(program, "/reload")

    assert (status, document["detail"]) == (422, program.mistake)


async def test_quit_begins_to_drain():
    program = StandingProgram()

    assert await _post(program, "/quit") == (202, {"draining": True})
    assert program.draining
