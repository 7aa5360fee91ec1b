"""What the replicas of an operator tell each other: each which proxies it serves, so that a status counts all of them."""
