//! What the data2vec student must predict, the loss, and the watch for collapse
