"""The Kubernetes half of Fairlead: what the cluster says, turned into what each proxy should do."""
