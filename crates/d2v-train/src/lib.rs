//! The data2vec training step, the run around it, and the program d2v

pub mod collapse;
