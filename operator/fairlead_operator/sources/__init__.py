"""Where objects come from: a directory of manifests, or the Kubernetes API. Each feeds ``ControlPlane.apply`` and ``delete``."""
