"""The Envoy half of Fairlead: values, translation and the xDS protocol. It has never heard of Kubernetes."""
