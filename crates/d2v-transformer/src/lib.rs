//! The one Transformer encoder of data2vec, pre-norm and post-norm, with every intermediate a target can be made of
