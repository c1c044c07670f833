//! The data2vec teacher: a moving average of the student, paired by name
