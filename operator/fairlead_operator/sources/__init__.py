"""Where objects come from: manifests or the Kubernetes API. Each feeds ``ControlPlane.apply`` and ``delete``."""
