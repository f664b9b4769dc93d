"""From configuration to objects: which room's parts make up a credential, a route, a listener."""
