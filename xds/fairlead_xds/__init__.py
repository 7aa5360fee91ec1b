"""The Envoy half of Fairlead: values, translation and the xDS protocol. It has never heard of Kubernetes."""

from fairlead_xds import messages

messages.load()
