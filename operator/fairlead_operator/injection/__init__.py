"""Sidecars for pods: what is added to a pod, who gets it, and the webhook that adds it when pods are made."""
