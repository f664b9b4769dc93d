"""What the machine has in its environment for other programs is not for this one."""

from __future__ import annotations

import json

from support.process import Program, free_port
from support.settings import client_credentials, one_route


async def test_proxies_and_passwords_of_the_environment_are_left_alone(sandbox, tmp_path, fetch):
    """Row 51: a proxy is what `via_proxy` says, and a credential is what the file says."""
    nobody = f"http://127.0.0.1:{free_port()}"
    (tmp_path / "netrc").write_text("default login s3cret password s3cret\n")
    environ = {name: nobody for proxy in ("http_proxy", "https_proxy", "all_proxy") for name in (proxy, proxy.upper())}
    environ |= {"no_proxy": "", "NO_PROXY": "", "NETRC": str(tmp_path / "netrc"), "HOME": str(tmp_path)}
    config = one_route(sandbox.url + "/api", client_credentials(sandbox.token_endpoint))
    config["routes"].append({"match": "/open", "upstream": sandbox.url + "/open"})
    async with Program(config, tmp_path, environ=environ) as program:
        assert (await fetch(program.url + "/api/x"))[0] == 200
        _, _, body = await fetch(program.url + "/open/x")
    assert "authorization" not in {name.lower() for name, _ in json.loads(body)["headers"]}
