//! `config.json` of text networks (spec 7.3).

use super::fields::{Fields, TABLE_ROWS};
use crate::Result;
use crate::description::TextDescription;
use serde_json::{Map, Value, json};

pub(super) const MODEL_TYPE: &str = "data2vec-text";

pub(super) fn read(fields: &Fields<'_>) -> Result<TextDescription> {
    let transformer = fields.transformer("hidden_dropout_prob", "attention_probs_dropout_prob")?;
    // transformers 5 knows absolute positions only and leaves these out.
    fields.absent_or("position_embedding_type", &Value::from("absolute"))?;
    for flag in ["is_decoder", "add_cross_attention"] {
        fields.absent_or(flag, &Value::Bool(false))?;
    }
    fields.only("type_vocab_size", &Value::from(1))?;
    let vocabulary = fields.size("vocab_size", TABLE_ROWS)?;
    let position_rows = fields.size("max_position_embeddings", TABLE_ROWS)?;
    let ids = 0..=vocabulary - 1;
    let padding_id = fields.size("pad_token_id", ids.clone())?;
    if position_rows < padding_id + 2 {
        let rule = format!("at least {}: positions begin after the padding's row", padding_id + 2);
        return fields.refuse("max_position_embeddings", rule);
    }
    Ok(TextDescription {
        transformer,
        vocabulary,
        position_rows,
        padding_id,
        begin_id: fields.size("bos_token_id", ids.clone())?,
        end_id: fields.size("eos_token_id", ids)?,
    })
}

pub(super) fn write(text: &TextDescription) -> Map<String, Value> {
    let fields = json!({
        "vocab_size": text.vocabulary,
        "max_position_embeddings": text.position_rows,
        "type_vocab_size": 1,
        "position_embedding_type": "absolute",
        "pad_token_id": text.padding_id,
        "bos_token_id": text.begin_id,
        "eos_token_id": text.end_id,
        "hidden_dropout_prob": text.transformer.dropout,
        "attention_probs_dropout_prob": text.transformer.attention_dropout,
    });
    if let Value::Object(fields) = fields { fields } else { Map::new() }
}
