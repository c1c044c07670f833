//! Some fields of a JSON object; the others are read over without being kept, so that no object needs more memory
//! than its line.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// What was found of the fields asked for.
pub(super) struct Fields {
    values: Vec<Option<Scalar>>,
    /// The names of the first fields, for messages.
    pub(super) names: Vec<String>,
}

#[derive(Debug, PartialEq)]
enum Scalar {
    Text(String),
    /// Anything that is no text, number or truth value, by its kind.
    Other(&'static str),
}

impl Fields {
    const MAX_NAMES: usize = 16;

    /// The value of a field by its place among those asked for, numbers and truth values as they are written; `None`
    /// if it is not there.
    ///
    /// # Errors
    /// The kind, if it is neither.
    pub(super) fn take(&mut self, place: usize) -> Result<Option<String>, String> {
        match self.values[place].take() {
            None => Ok(None),
            Some(Scalar::Text(text)) => Ok(Some(text)),
            Some(Scalar::Other(kind)) => Err(format!("the field is {kind}, but must be text")),
        }
    }
}

/// Reads the fields with the given names from a line that holds one object; of equal names the last counts.
pub(super) fn read_fields(line: &str, names: &[&str]) -> Result<Fields, String> {
    let mut reader = serde_json::Deserializer::from_str(line);
    let fields = Wanted(names).deserialize(&mut reader).map_err(|error| error.to_string())?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(fields)
}

struct Wanted<'a>(&'a [&'a str]);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Fields;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields { values: self.0.iter().map(|_| None).collect(), names: Vec::new() };
        while let Some(name) = map.next_key::<String>()? {
            match self.0.iter().position(|&wanted| wanted == name) {
                Some(place) => fields.values[place] = Some(map.next_value_seed(AsScalar)?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            if fields.names.len() < Fields::MAX_NAMES {
                fields.names.push(name);
            }
        }
        Ok(fields)
    }
}

struct AsScalar;

impl<'de> DeserializeSeed<'de> for AsScalar {
    type Value = Scalar;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AsScalar {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.into()))
    }

    fn visit_string<E>(self, text: String) -> Result<Scalar, E> {
        Ok(Scalar::Text(text))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other("null"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Scalar, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<[Option<&str>; 2], &str>) {
        let got = read_fields(line, &["text", "label"])
            .and_then(|mut fields| Ok([fields.take(0)?, fields.take(1)?]));
        match (got, expected) {
            (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
            (got, expected) => assert_eq!(
                got,
                expected.map(|values| values.map(|value| value.map(str::to_owned))).map_err(str::to_owned)
            ),
        }
    }

    #[test]
    fn wanted_fields_are_found_among_others() {
        check(r#"{"a": [1, {"text": 2}], "text": "x\ny", "label": 1}"#, Ok([Some("x\ny"), Some("1")]));
        check(r#"{"text": true}"#, Ok([Some("true"), None]));
        check("{}", Ok([None, None]));
        check(r#"{"text": ["x"]}"#, Err("a list"));
        check(r#"{"text": {"x": {}}}"#, Err("an object"));
        check(r#"{"text": null}"#, Err("null"));
        check(r#"["text"]"#, Err("expected a JSON object"));
        check(r#"{"text": "x"} {}"#, Err("trailing"));
        check(&"[".repeat(100_000), Err("expected"));
        check(&format!("{{\"text\": {}", "[".repeat(100_000)), Err("EOF"));
    }
}
