"""The gateways of an installation: whose policies they take, and the Services through which they are reached."""
