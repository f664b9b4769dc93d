from __future__ import annotations

import http

import pytest

from proxy.admin import faults
from proxy.errors import ProxyError


@pytest.mark.parametrize("kind", faults.AdminFault.__subclasses__())
def test_every_fault_has_a_status_of_http_and_a_title(kind):
    fault = kind(retry_after=1.0) if kind is faults.TooMany else kind()

    assert isinstance(fault, ProxyError)
    assert http.HTTPStatus(fault.status)
    assert fault.title


def test_the_wait_is_told_in_whole_seconds_rounded_up():
    assert faults.TooMany(retry_after=12.1).headers == (("Retry-After", "13"),)
    assert faults.TooMany(retry_after=0.0).headers == (("Retry-After", "1"),)
