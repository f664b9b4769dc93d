"""From configuration to live objects: credentials, routes, listeners. The only package that knows all others."""
