//! `config.json` of speech networks (spec 7.2).
//!
//! `do_stable_layer_norm` and `feat_extract_norm` are in some published files; the class ignores both, and so do we.

use super::fields::{Fields, LAYERS, WIDTHS};
use crate::Result;
use crate::description::{AudioDescription, Convolution};
use serde_json::{Map, Value, json};

pub(super) const MODEL_TYPE: &str = "data2vec-audio";

pub(super) fn read(fields: &Fields<'_>) -> Result<AudioDescription> {
    let transformer = fields.transformer("hidden_dropout", "attention_dropout")?;
    fields.only("feat_extract_activation", &Value::from("gelu"))?;
    fields.only("conv_bias", &Value::Bool(false))?;
    // Layers after the last block; their tensors would be unexpected names anyway.
    fields.absent_or("add_adapter", &Value::Bool(false))?;
    let channels = fields.sizes("conv_dim", WIDTHS)?;
    let kernels = fields.sizes("conv_kernel", WIDTHS)?;
    let strides = fields.sizes("conv_stride", WIDTHS)?;
    for (field, list) in [("conv_kernel", &kernels), ("conv_stride", &strides)] {
        if list.len() != channels.len() {
            return fields.refuse(field, format!("{} numbers, as many as conv_dim has", channels.len()));
        }
    }
    let convolutions = channels.iter().zip(&kernels).zip(&strides);
    let convolutions = convolutions
        .map(|((&channels, &kernel), &stride)| Convolution { channels, kernel, stride })
        .collect();
    let positional_groups = fields.size("num_conv_pos_embedding_groups", WIDTHS)?;
    if !transformer.width.is_multiple_of(positional_groups) {
        let rule = format!("a divisor of hidden_size, which is {}", transformer.width);
        return fields.refuse("num_conv_pos_embedding_groups", rule);
    }
    // The class has a mask vector only if fine-tuning can mask something.
    let mask_token = fields.rate("mask_time_prob")? > 0.0 || fields.rate("mask_feature_prob")? > 0.0;
    Ok(AudioDescription {
        transformer,
        convolutions,
        positional_convs: fields.size("num_conv_pos_embeddings", LAYERS)?,
        positional_kernel: fields.size("conv_pos_kernel_size", WIDTHS)?,
        positional_groups,
        mask_token,
        activation_dropout: fields.rate("activation_dropout")?,
        feature_dropout: fields.rate("feat_proj_dropout")?,
        layer_drop: fields.rate("layerdrop")?,
    })
}

pub(super) fn write(audio: &AudioDescription) -> Map<String, Value> {
    let each = |number: fn(&Convolution) -> usize| audio.convolutions.iter().map(number).collect::<Vec<_>>();
    let fields = json!({
        "conv_dim": each(|conv| conv.channels),
        "conv_kernel": each(|conv| conv.kernel),
        "conv_stride": each(|conv| conv.stride),
        "conv_bias": false,
        "num_feat_extract_layers": audio.convolutions.len(),
        "feat_extract_activation": "gelu",
        "num_conv_pos_embeddings": audio.positional_convs,
        "conv_pos_kernel_size": audio.positional_kernel,
        "num_conv_pos_embedding_groups": audio.positional_groups,
        "hidden_dropout": audio.transformer.dropout,
        "attention_dropout": audio.transformer.attention_dropout,
        "activation_dropout": audio.activation_dropout,
        "feat_proj_dropout": audio.feature_dropout,
        "layerdrop": audio.layer_drop,
        "add_adapter": false,
        // What fine-tuning masks; above 0 it makes the class expect the mask vector (0.05 in the published files).
        "mask_time_prob": if audio.mask_token { 0.05 } else { 0.0 },
        "mask_feature_prob": 0.0,
    });
    if let Value::Object(fields) = fields { fields } else { Map::new() }
}
