"""An interface package with an action, which no installed package has."""
