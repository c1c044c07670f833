//! Whose names a set of tensors uses.

use super::relation::Table;
use super::{audio, text, vision};
use crate::{Error, Result, Tensors};

/// Where an image network of theirs keeps its table of relative position biases; here one table serves all layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BiasTable {
    /// One table for all layers, as pretraining makes it.
    Shared,
    /// A table in each layer, as fine-tuning makes it. Only readable while all are equal (spec 7.5.4).
    Copied,
}

/// A naming of tensors other than ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// transformers' `Data2VecVisionModel`.
    TransformersVision {
        /// Where the table of position biases stands.
        bias: BiasTable,
        /// Whether a norm follows the last block: the opposite of `use_mean_pooling`.
        final_norm: bool,
    },
    /// transformers' `Data2VecAudioModel`.
    TransformersAudio,
    /// transformers' `Data2VecTextModel`.
    TransformersText,
    /// The original image code (BEiT's names).
    BeitFork {
        /// Where the table of position biases stands.
        bias: BiasTable,
    },
    /// fairseq's port of the image code.
    FairseqVision,
    /// fairseq's speech code.
    FairseqAudio,
    /// fairseq's text code.
    FairseqText,
}

impl Source {
    /// The naming that the tensors of a checkpoint use, by one name that only it has.
    ///
    /// # Errors
    /// [`Error::UnknownNaming`] when none is found; transformers' namings are not among them, for there `config.json`
    /// says what the network is.
    pub fn of_checkpoint(tensors: &Tensors) -> Result<Source> {
        let has = |name: &str| tensors.contains_key(name);
        let source = if has("encoder.sentence_encoder.embed_tokens.weight") {
            Source::FairseqText
        } else if has("post_extract_proj.weight") || has("w2v_encoder.w2v_model.post_extract_proj.weight") {
            Source::FairseqAudio
        } else if has("patch_embed.conv.weight") {
            Source::FairseqVision
        } else if has("patch_embed.proj.weight") && has("rel_pos_bias.relative_position_bias_table") {
            Source::BeitFork { bias: BiasTable::Shared }
        } else if has("patch_embed.proj.weight") && has("blocks.0.attn.relative_position_bias_table") {
            Source::BeitFork { bias: BiasTable::Copied }
        } else {
            return Err(Error::UnknownNaming { first: tensors.keys().take(5).cloned().collect() });
        };
        Ok(source)
    }

    /// The naming, for messages.
    pub fn describe(self) -> &'static str {
        self.table().model
    }

    pub(super) fn table(self) -> Table {
        match self {
            Source::TransformersVision { bias, final_norm } => vision::transformers(bias, final_norm),
            Source::TransformersAudio => audio::transformers(),
            Source::TransformersText => text::transformers(),
            Source::BeitFork { bias } => vision::beit_fork(bias),
            Source::FairseqVision => vision::fairseq(),
            Source::FairseqAudio => audio::fairseq(),
            Source::FairseqText => text::fairseq(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_shown() {
        let tensor = crate::Tensor::from_f32(vec![1], &[0.0]).unwrap();
        let tensors = Tensors::from([("modality_encoders.IMAGE.extra_tokens".to_owned(), tensor)]);
        let error = Source::of_checkpoint(&tensors).unwrap_err().to_string();
        assert!(error.contains("modality_encoders.IMAGE.extra_tokens"), "{error}");
    }
}
