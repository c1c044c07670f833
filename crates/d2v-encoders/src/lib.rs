//! Front ends: raw input to tokens for the Transformer
