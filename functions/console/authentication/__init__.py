"""Who is looking, and may they act: sessions and where a request comes from."""
