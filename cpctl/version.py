"""The release. Asking the installed package for it would cost a tenth of the start."""

VERSION = "0.1.0"
