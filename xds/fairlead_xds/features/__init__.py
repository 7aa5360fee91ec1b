"""One file per feature: its frozen value, and the pure functions from it to a fragment of Envoy's configuration.

The values are fields of the custom resources (``fairlead_operator.api``) as well as of :mod:`fairlead_xds.model`, so a
feature has one shape from ``kubectl apply`` to Envoy. A function is named after the Envoy field that it fills.
"""
