//! `config.json` of image networks (spec 7.1).

use super::fields::{Fields, WIDTHS};
use crate::Result;
use crate::description::VisionDescription;
use crate::names::BiasTable;
use serde_json::{Map, Value, json};

pub(super) const MODEL_TYPE: &str = "data2vec-vision";

pub(super) fn read(fields: &Fields<'_>) -> Result<VisionDescription> {
    let transformer = fields.transformer("hidden_dropout_prob", "attention_probs_dropout_prob")?;
    let image_size = fields.size("image_size", WIDTHS)?;
    let patch_size = fields.size("patch_size", WIDTHS)?;
    if !image_size.is_multiple_of(patch_size) {
        return fields.refuse("patch_size", format!("a divisor of image_size, which is {image_size}"));
    }
    fields.only("use_absolute_position_embeddings", &Value::Bool(false))?;
    let shared = fields.flag("use_shared_relative_position_bias")?;
    let bias_table = match (shared, fields.flag("use_relative_position_bias")?) {
        (true, false) => BiasTable::Shared,
        (false, true) => BiasTable::Copied,
        _ => {
            return fields.refuse(
                "use_relative_position_bias",
                format!("the opposite of use_shared_relative_position_bias, which is {shared}"),
            );
        }
    };
    Ok(VisionDescription {
        transformer,
        image_size,
        patch_size,
        channels: fields.size("num_channels", WIDTHS)?,
        bias_table,
        mask_token: fields.flag("use_mask_token")?,
        final_norm: !fields.flag("use_mean_pooling")?,
        drop_path: fields.rate("drop_path_rate")?,
        // At 0 and below the class has no LayerScale at all, which no data2vec network lacks.
        layer_scale: fields.positive("layer_scale_init_value")?,
    })
}

pub(super) fn write(vision: &VisionDescription) -> Map<String, Value> {
    let shared = vision.bias_table == BiasTable::Shared;
    let fields = json!({
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
        "num_channels": vision.channels,
        "hidden_dropout_prob": vision.transformer.dropout,
        "attention_probs_dropout_prob": vision.transformer.attention_dropout,
        "drop_path_rate": vision.drop_path,
        "layer_scale_init_value": vision.layer_scale,
        "use_absolute_position_embeddings": false,
        "use_mask_token": vision.mask_token,
        "use_mean_pooling": !vision.final_norm,
        "use_relative_position_bias": !shared,
        "use_shared_relative_position_bias": shared,
    });
    if let Value::Object(fields) = fields { fields } else { Map::new() }
}
