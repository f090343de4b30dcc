"""Science-activated standalone NODEs: the right-hand side of a differential equation is the activation."""
