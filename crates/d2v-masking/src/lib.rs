//! Which positions data2vec hides from the student: blocks, spans, tokens, random; no tensors, no libtorch
