"""What one process of the receiver keeps: its settings, its uploads and its ledger."""

from __future__ import annotations

from functions.kit.context import Resources
from functions.kit.contract import Uploads
from functions.webhook_receiver.ledger import Ledger
from functions.webhook_receiver.settings import ReceiverSettings

# Of all bodies that are being received; the folder for temporary files holds what is on disk.
MAX_MEMORY_BYTES = 32 * 1024 * 1024
MAX_DISK_BYTES = 256 * 1024 * 1024


class Receiver:
    """Made once per process."""

    def __init__(self, resources: Resources) -> None:
        self.settings = resources.settings(ReceiverSettings)
        self.settings.sources()  # a bad secret is found at the start, not at the first delivery
        self.uploads = Uploads(MAX_MEMORY_BYTES, MAX_DISK_BYTES)
        self.ledger = Ledger(resources)
