"""Whether fits with the default settings end well, on several families of encoders."""
