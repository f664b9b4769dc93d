from __future__ import annotations

import http

import pytest

from proxy.admin import admin_errors
from proxy.errors import ProxyError


@pytest.mark.parametrize("kind", admin_errors.AdminError.__subclasses__())
def test_every_error_has_a_status_of_http_and_a_title(kind):
    error = kind(retry_after=1.0) if kind is admin_errors.TooMany else kind()

    assert isinstance(error, ProxyError)
    assert http.HTTPStatus(error.status)
    assert error.title


def test_the_wait_is_told_in_whole_seconds_rounded_up():
    assert admin_errors.TooMany(retry_after=12.1).headers == (("Retry-After", "13"),)
    assert admin_errors.TooMany(retry_after=0.0).headers == (("Retry-After", "1"),)
