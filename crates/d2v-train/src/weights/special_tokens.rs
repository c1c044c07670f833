//! What the files beside a `tokenizer.json` of transformers call its special tokens.

use super::Error;
use super::companions::{Companions, TOKENIZER, TOKENIZER_CONFIG};
use crate::Result;
use d2v_data::{Error as DataError, SpecialNames, TextError, Tokenizer};
use serde_json::{Map, Value};
use std::path::Path;

/// The files that name them. Where both do the first counts, as in transformers.
const FILES: [&str; 2] = [TOKENIZER_CONFIG, "special_tokens_map.json"];

/// A name and where it stands.
struct Stated {
    /// The key of [`SpecialNames`].
    key: &'static str,
    file: &'static str,
    field: &'static str,
    token: String,
}

/// The tokenizer of a folder of transformers, by its bytes. Special tokens have the names of `own`, else those that the
/// files beside it state, else RoBERTa's or BERT's.
///
/// # Errors
/// If one of those files is damaged or states a token that the tokenizer lacks, or the tokenizer cannot be used.
pub(super) fn tokenizer(
    json: &[u8],
    folder: &Path,
    companions: &Companions,
    own: &SpecialNames,
) -> Result<Tokenizer> {
    let files = read(folder, companions)?;
    let mut names = own.clone();
    let SpecialNames { begin, end, pad, mask, unknown } = &mut names;
    // What an encoder's texts begin and end with has two names, of which generating models have the second alone.
    let fields: [(_, _, &[&str]); 5] = [
        (begin, "begin", &["cls_token", "bos_token"]),
        (end, "end", &["sep_token", "eos_token"]),
        (pad, "pad", &["pad_token"]),
        (mask, "mask", &["mask_token"]),
        (unknown, "unknown", &["unk_token"]),
    ];
    let mut stated = Vec::new();
    for (name, key, fields) in fields {
        if name.is_none()
            && let Some(one) = find(&files, folder, key, fields)?
        {
            *name = Some(one.token.clone());
            stated.push(one);
        }
    }
    let tokenizer = Tokenizer::from_json_with(json, &folder.join(TOKENIZER).display().to_string(), &names);
    let of = |key: &str| stated.iter().find(|one| one.key == key);
    // A token that would be new has no row in the weights.
    let lacking = match &tokenizer {
        Ok(tokenizer) => tokenizer.added_specials().iter().find_map(|key| of(key)),
        Err(DataError::Text(TextError::NoSuchSpecial { key, .. })) => of(key),
        Err(_) => None,
    };
    match lacking {
        Some(Stated { file, field, token, .. }) => {
            let problem = format!("`{field}` is {token:?}, which is no token of {TOKENIZER}");
            Err(Error::SpecialTokens { path: folder.join(file), problem }.into())
        }
        None => Ok(tokenizer?),
    }
}

/// Those of the files that are there.
fn read(folder: &Path, companions: &Companions) -> Result<Vec<(&'static str, Map<String, Value>)>> {
    let object = |file| {
        let bytes = companions.get(file)?;
        let damaged = |error: serde_json::Error| {
            Error::SpecialTokens { path: folder.join(file), problem: error.to_string() }.into()
        };
        Some(serde_json::from_slice(bytes).map(|object| (file, object)).map_err(damaged))
    };
    FILES.into_iter().filter_map(object).collect()
}

/// The first of the fields that is stated, and null nowhere counts as that.
fn find(
    files: &[(&'static str, Map<String, Value>)],
    folder: &Path,
    key: &'static str,
    fields: &[&'static str],
) -> Result<Option<Stated>> {
    for &field in fields {
        for (file, object) in files {
            let value = match object.get(field) {
                None | Some(Value::Null) => continue,
                Some(value) => value,
            };
            let Some(token) = value.as_str().or_else(|| value.get("content")?.as_str()) else {
                let problem =
                    format!("`{field}` is {value}, which is neither text nor has a text in \"content\"");
                return Err(Error::SpecialTokens { path: folder.join(file), problem }.into());
            };
            return Ok(Some(Stated { key, file, field, token: token.to_owned() }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use d2v_data::Specials;

    /// Seven words; what they are for is not to be seen.
    const WORDS: &str = r#"{
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "decoder": null, "added_tokens": [], "pre_tokenizer": { "type": "Whitespace" },
        "model": { "type": "WordLevel", "unk_token": "who", "vocab": {
            "go": 0, "fill": 1, "stop": 2, "who": 3, "a": 4, "hide": 5, "turn": 6 } }
    }"#;
    const CONFIG: &str = r#"{
        "bos_token": "turn", "cls_token": { "content": "go", "lstrip": false }, "eos_token": "stop", "sep_token": null,
        "pad_token": "fill", "model_max_length": 9
    }"#;
    const MAP: &str = r#"{ "pad_token": "a", "mask_token": { "content": "hide" }, "unk_token": "who" }"#;

    fn read_with(config: &str, map: &str, own: &str) -> Result<Tokenizer> {
        let files = [(TOKENIZER_CONFIG, config), ("special_tokens_map.json", map)];
        let there = files.into_iter().filter(|(_, text)| !text.is_empty());
        let companions = there.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).collect();
        tokenizer(WORDS.as_bytes(), Path::new("folder"), &companions, &toml::from_str(own).unwrap())
    }

    #[test]
    fn both_files_and_both_forms_are_read() {
        let tokenizer = read_with(CONFIG, MAP, "").unwrap();
        assert_eq!(tokenizer.specials(), Specials { bos: 0, pad: 1, eos: 2, unk: 3, mask: 5 });
        let names = tokenizer.special_names();
        assert_eq!((names.begin.as_deref(), names.mask.as_deref()), (Some("go"), Some("hide")));
        // The recipe's own names win.
        let tokenizer = read_with(CONFIG, MAP, "begin = 'turn'\npad = 'a'").unwrap();
        assert_eq!(tokenizer.specials(), Specials { bos: 6, pad: 4, eos: 2, unk: 3, mask: 5 });
        let message = read_with(CONFIG, "", "").unwrap_err().to_string();
        assert!(message.contains("lacks a token for unknown, mask"), "{message}");
    }

    #[test]
    fn what_is_stated_and_not_there_is_named() {
        let refused = |config: &str, map: &str, expected: &str| {
            let message = read_with(config, map, "").unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        };
        let field =
            |name: &str| format!("folder/special_tokens_map.json: `{name}` is \"<x>\", which is no token");
        refused(CONFIG, &MAP.replace("who", "<x>"), &field("unk_token"));
        // A mask that a recipe names may be new; the weights have none for a new one.
        refused(CONFIG, &MAP.replace("hide", "<x>"), &field("mask_token"));
        let in_config = "folder/tokenizer_config.json: `cls_token` is \"<x>\"";
        refused(&CONFIG.replace("go", "<x>"), MAP, in_config);
        refused(
            &CONFIG.replace("\"fill\"", "7"),
            MAP,
            "folder/tokenizer_config.json: `pad_token` is 7, which is neither",
        );
        refused("[]", MAP, "folder/tokenizer_config.json: invalid type");
        assert!(read_with(CONFIG, &MAP.replace("hide", "<x>"), "mask = '<new>'").is_ok());
    }
}
