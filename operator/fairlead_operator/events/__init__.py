"""What `kubectl describe lbp` lists under Events: a policy's conditions and endpoints that turned into something else."""
