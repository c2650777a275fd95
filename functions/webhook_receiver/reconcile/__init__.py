"""What a source says happened, compared with the ledger: what is missing is taken in."""
