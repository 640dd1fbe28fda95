"""The Profiles view: files, effective values, forms, and bringing changes into force."""
