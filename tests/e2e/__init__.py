"""The main jobs, with the real commands, the real S3 server, real programs and an independent client."""
