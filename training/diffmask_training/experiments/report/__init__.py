"""Tables and figures, made from the files of figures and from nothing else."""
