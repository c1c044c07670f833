//! Fields of a JSON object, each read with its rule; every error names the field and what is supported.

use crate::description::TransformerDescription;
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// Ranges wider than any published network by orders of magnitude, yet small enough that products of three sizes and
/// lists of names stay far from overflow and from exhausting memory.
pub(super) const WIDTHS: RangeInclusive<usize> = 1..=1 << 16;
/// Numbers of layers.
pub(super) const LAYERS: RangeInclusive<usize> = 1..=1000;
/// Rows of tables.
pub(super) const TABLE_ROWS: RangeInclusive<usize> = 1..=1 << 24;

/// The fields of one configuration file.
pub(super) struct Fields<'a> {
    file: &'static str,
    model: &'static str,
    fields: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The fields of a `config.json` with this `model_type`.
    pub(super) fn new(model: &'static str, fields: &'a Map<String, Value>) -> Fields<'a> {
        Fields { file: "config.json", model, fields }
    }

    /// The fields of a `preprocessor_config.json`.
    pub(super) fn of_processor(model: &'static str, fields: &'a Map<String, Value>) -> Fields<'a> {
        Fields { file: "preprocessor_config.json", model, fields }
    }

    fn get(&self, field: &str) -> Result<&'a Value> {
        self.fields.get(field).ok_or_else(|| Error::FieldMissing {
            file: self.file,
            field: field.to_owned(),
            model: self.model,
        })
    }

    /// Refuses a field's value.
    pub(super) fn refuse<T>(&self, field: &str, supported: impl Into<String>) -> Result<T> {
        let value = self.fields.get(field).map_or("absent".into(), Value::to_string);
        let shown: String = value.chars().take(200).collect();
        Err(Error::FieldValue {
            file: self.file,
            field: field.to_owned(),
            value: shown,
            supported: supported.into(),
        })
    }

    /// A whole number in a range.
    pub(super) fn size(&self, field: &str, range: RangeInclusive<usize>) -> Result<usize> {
        match self.get(field)?.as_u64().and_then(|size| usize::try_from(size).ok()) {
            Some(size) if range.contains(&size) => Ok(size),
            _ => self.refuse(field, format!("a whole number from {} to {}", range.start(), range.end())),
        }
    }

    /// A list of whole numbers in a range.
    pub(super) fn sizes(&self, field: &str, range: RangeInclusive<usize>) -> Result<Vec<usize>> {
        let in_range = |value: &Value| {
            value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|size| range.contains(size))
        };
        let rule = || {
            format!("a list of 1 to {} whole numbers from {} to {}", LAYERS.end(), range.start(), range.end())
        };
        match self.get(field)?.as_array() {
            Some(list) if LAYERS.contains(&list.len()) => match list.iter().map(in_range).collect() {
                Some(sizes) => Ok(sizes),
                None => self.refuse(field, rule()),
            },
            _ => self.refuse(field, rule()),
        }
    }

    /// A rate in `[0, 1)`.
    pub(super) fn rate(&self, field: &str) -> Result<f64> {
        match self.get(field)?.as_f64() {
            Some(rate) if (0.0..1.0).contains(&rate) => Ok(rate),
            _ => self.refuse(field, "a number from 0, below 1"),
        }
    }

    /// A number above 0.
    pub(super) fn positive(&self, field: &str) -> Result<f64> {
        match self.get(field)?.as_f64() {
            Some(number) if number > 0.0 && number.is_finite() => Ok(number),
            _ => self.refuse(field, "a number above 0"),
        }
    }

    /// True or false.
    pub(super) fn flag(&self, field: &str) -> Result<bool> {
        match self.get(field)?.as_bool() {
            Some(flag) => Ok(flag),
            None => self.refuse(field, "true or false"),
        }
    }

    /// A field that must be there and be this.
    pub(super) fn only(&self, field: &str, supported: &Value) -> Result<()> {
        if self.get(field)? == supported { Ok(()) } else { self.refuse(field, supported.to_string()) }
    }

    /// A field that some releases leave out because it can only be this.
    pub(super) fn absent_or(&self, field: &str, supported: &Value) -> Result<()> {
        match self.fields.get(field) {
            Some(value) if value != supported => self.refuse(field, supported.to_string()),
            _ => Ok(()),
        }
    }

    /// The sizes common to all modalities; what the two dropouts are called differs.
    pub(super) fn transformer(
        &self,
        dropout: &str,
        attention_dropout: &str,
    ) -> Result<TransformerDescription> {
        let width = self.size("hidden_size", WIDTHS)?;
        let heads = self.size("num_attention_heads", WIDTHS)?;
        if !width.is_multiple_of(heads) {
            return self.refuse("num_attention_heads", format!("a divisor of hidden_size, which is {width}"));
        }
        // GELU by the error function (spec 7.5.10); "gelu_new" and the like are approximations of it.
        self.only("hidden_act", &Value::from("gelu"))?;
        Ok(TransformerDescription {
            width,
            depth: self.size("num_hidden_layers", LAYERS)?,
            heads,
            feed_forward: self.size("intermediate_size", WIDTHS)?,
            norm_eps: self.positive("layer_norm_eps")?,
            dropout: self.rate(dropout)?,
            attention_dropout: self.rate(attention_dropout)?,
        })
    }
}
