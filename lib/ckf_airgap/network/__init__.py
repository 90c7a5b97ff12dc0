"""HTTPS to the registry and to file servers: trust, proxies, retries, addresses."""
