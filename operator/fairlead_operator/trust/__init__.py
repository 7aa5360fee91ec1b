"""What makes proxies and control plane believe each other: certificates in one direction, tokens in the other."""
