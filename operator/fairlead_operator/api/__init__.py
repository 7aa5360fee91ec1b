"""The custom resources as pydantic models, the views of core kinds, and the generator of ``crds/``."""
