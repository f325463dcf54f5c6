"""From a checkpoint and its probes to a bundle: one fused graph, checked."""
