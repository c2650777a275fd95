"""The programs of the containers around an agent's, in its own pod: `prepare` makes its workspace,
`collect` posts what it has left, `model` passes its requests on to its model with the key. They
speak with agent-outputs, and run git on nothing that the agent could have configured.
"""
