"""The command line: signed requests to the receiver."""
