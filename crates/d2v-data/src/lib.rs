//! From files to batches: decoding, augmentation, shards and order, on threads; no libtorch
