"""A real authorization server (the npm package oidc-provider) and a resource server that trusts it."""
