"""Before training: check, convert, download and describe data sets."""
