"""Each sender: its proof, the shape of its payloads, and the states that they report."""
