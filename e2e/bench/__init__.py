"""``make bench-e2e``: how fast the cluster's changes reach its traffic, and what the parts take."""
