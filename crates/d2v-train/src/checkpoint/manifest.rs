//! `state.json`: sizes and checksums of the other files, versions, the caller's state, and a checksum over itself.
//!
//! The file starts with its own SHA-256, which is taken with 64 zeros in its place. So every byte is covered, and the file stays
//! one that people can read.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{CheckpointError, Damage, Damaged, Versions};

/// The name of the file in a checkpoint's folder.
pub(super) const FILE_NAME: &str = "state.json";
/// Changes whenever an older program could no longer read the files.
const FORMAT: u32 = 1;
/// What the file starts with, up to the digits of its checksum. Later formats keep this.
const HEAD: &str = "{\n  \"sha256\": \"";
const NO_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What `state.json` holds. The first field is the checksum, where [`HEAD`] has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest<S> {
    sha256: String,
    format: u32,
    pub(super) step: u64,
    pub(super) versions: Versions,
    pub(super) files: FileRecords,
    pub(super) state: S,
}

/// Size and checksum of each tensor file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileRecords {
    pub(super) student: FileRecord,
    pub(super) teacher: FileRecord,
    pub(super) optimizer: FileRecord,
}

/// Size and checksum of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileRecord {
    pub(super) bytes: u64,
    /// 64 lower-case hexadecimal digits.
    pub(super) sha256: String,
}

/// The only part read before the format is known.
#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl<S: Serialize + DeserializeOwned> Manifest<&S> {
    /// The bytes of the file; `path` names it in errors.
    ///
    /// # Errors
    /// If the state cannot be written as JSON or read back from it: better now than when the run is to go on.
    pub(super) fn to_bytes(&self, path: &Path) -> Result<Vec<u8>, CheckpointError> {
        let unusable = |error: serde_json::Error| CheckpointError::State {
            path: path.to_owned(),
            problem: error.to_string(),
        };
        let mut text = serde_json::to_string_pretty(self).map_err(unusable)?;
        serde_json::from_str::<Manifest<S>>(&text).map_err(unusable)?;
        let digest = hex(&Sha256::digest(&text));
        text.replace_range(HEAD.len()..HEAD.len() + digest.len(), &digest);
        Ok(text.into_bytes())
    }
}

impl<S> Manifest<S> {
    pub(super) fn new(step: u64, versions: Versions, files: FileRecords, state: S) -> Self {
        Self { sha256: NO_DIGEST.to_owned(), format: FORMAT, step, versions, files, state }
    }
}

impl<S: DeserializeOwned> Manifest<S> {
    /// Reads the bytes of the file `path`.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] if they are not as written; if they are, [`CheckpointError::Format`] or
    /// [`CheckpointError::State`] if another program wrote them.
    pub(super) fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, CheckpointError> {
        if !seal_holds(bytes) {
            return Err(Damaged { file: path.to_owned(), damage: Damage::Checksum }.into());
        }
        let unusable = |error: serde_json::Error| CheckpointError::State {
            path: path.to_owned(),
            problem: error.to_string(),
        };
        let FormatOnly { format } = serde_json::from_slice(bytes).map_err(unusable)?;
        if format != FORMAT {
            return Err(CheckpointError::Format { path: path.to_owned(), found: format, supported: FORMAT });
        }
        serde_json::from_slice(bytes).map_err(unusable)
    }
}

/// Whether the bytes carry the checksum of themselves.
fn seal_holds(bytes: &[u8]) -> bool {
    let Some((found, rest)) =
        bytes.strip_prefix(HEAD.as_bytes()).and_then(|rest| rest.split_at_checked(NO_DIGEST.len()))
    else {
        return false;
    };
    let digest = Sha256::new().chain_update(HEAD).chain_update(NO_DIGEST).chain_update(rest).finalize();
    hex(&digest).as_bytes() == found
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest<S>(state: &S) -> Manifest<&S> {
        let record = FileRecord { bytes: 8, sha256: NO_DIGEST.to_owned() };
        let files = FileRecords { student: record.clone(), teacher: record.clone(), optimizer: record };
        let versions = Versions { program: "0.1.0".to_owned(), libtorch: "2.11.0".to_owned() };
        Manifest::new(7, versions, files, state)
    }

    fn path() -> &'static Path {
        Path::new("step-7/state.json")
    }

    /// Seals `text` anew, as someone would who changes the file on purpose.
    fn sealed(text: &str) -> Vec<u8> {
        let blank = format!("{HEAD}{NO_DIGEST}{}", &text[HEAD.len() + NO_DIGEST.len()..]);
        let digest = hex(&Sha256::digest(&blank));
        blank.replacen(NO_DIGEST, &digest, 1).into_bytes()
    }

    #[test]
    fn floats_and_large_integers_survive() {
        let state = (0.1 + 0.2, f64::MIN_POSITIVE / 3.0, u64::MAX, -0.0_f64);
        let bytes = manifest(&state).to_bytes(path()).unwrap();
        let read = Manifest::<(f64, f64, u64, f64)>::from_bytes(&bytes, path()).unwrap();
        assert_eq!(read.state, state);
        assert!(read.state.3.is_sign_negative());
        assert_eq!(read.step, 7);
    }

    #[test]
    fn a_state_that_would_not_come_back_is_refused_when_saved() {
        let error = manifest(&f64::NAN).to_bytes(path()).unwrap_err().to_string();
        assert!(
            error.starts_with("the state in step-7/state.json cannot be restored: invalid type: null"),
            "{error}"
        );
    }

    #[test]
    fn another_format_or_state_is_not_damage() {
        let bytes = manifest(&1_u64).to_bytes(path()).unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        let newer = sealed(&text.replace("\"format\": 1", "\"format\": 2").replace("\"step\"", "\"update\""));
        let error = Manifest::<u64>::from_bytes(&newer, path()).unwrap_err();
        assert!(matches!(error, CheckpointError::Format { found: 2, supported: 1, .. }), "{error}");
        let error = Manifest::<String>::from_bytes(&bytes, path()).unwrap_err();
        assert!(matches!(error, CheckpointError::State { .. }), "{error}");
    }
}
