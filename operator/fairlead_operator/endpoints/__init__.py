"""What an endpoint gets and why: Kubernetes' view of it, and what the proxies found out, in one table."""
