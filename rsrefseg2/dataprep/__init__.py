"""Before training: check, convert, download and describe data sets; sentences for COCO instances."""
