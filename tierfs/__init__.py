"""tierfs: an object bucket as a local POSIX file system whose hot files live on the local SSD."""

__version__ = "0.1.0"
