"""Image data sets: readers, one decoded cache, a clean validation split, and preprocessing that is written out."""
