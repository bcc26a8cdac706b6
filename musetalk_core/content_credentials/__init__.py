"""Content Credentials (C2PA): claims about media files, signatures, certificates, and verification."""
