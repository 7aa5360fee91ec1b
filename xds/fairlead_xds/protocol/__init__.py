"""The xDS protocol without input and output: what one client sent in, what it must be sent out."""
