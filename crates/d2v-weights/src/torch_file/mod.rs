//! Files of `torch.save`, read without running anything in them.
//!
//! Such a file is a zip archive: `data.pkl` says in Python's pickle language what objects there are, `data/KEY` hold the
//! numbers. A pickle is a program that may call any function; here it is only taken down: tensors, dictionaries, lists,
//! tuples, numbers and text are understood, and everything else becomes a placeholder that bears the name of what would
//! have been called and can do nothing. Asking for a part that holds a placeholder is an error which names it.
//!
//! `archive` reads the zip entries, `opcodes` and `machine` the pickle, `node` is what comes out, `builders` turns the
//! few known calls into tensors, `strided` copies a tensor's numbers out of its storage.

mod archive;
mod builders;
mod machine;
mod node;
mod opcodes;
mod strided;

use crate::{Error, Result, Tensors};
use archive::Archive;
use node::{Id, Node, Nodes, TensorNode};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// All tensors of one call together may take this times the bytes of all storages: tied weights are stored once, but a
/// forged file could name one storage thousands of times.
const REUSE_LIMIT: u64 = 4;

/// An opened file of `torch.save`; numbers are read when asked for.
#[derive(Debug)]
pub struct TorchFile {
    path: PathBuf,
    archive: Archive,
    nodes: Nodes,
    root: Id,
}

impl TorchFile {
    /// Opens a file and takes down its objects.
    ///
    /// # Errors
    /// [`Error::OldTorchFile`] for the form used before PyTorch 1.6; others when it is no such archive, its pickle breaks
    /// the language or uses parts of it that `torch.save` does not, or something exceeds its limit.
    pub fn open(path: &Path) -> Result<TorchFile> {
        let mut archive = Archive::open(path)?;
        let pickle = archive.pickle()?;
        let (nodes, root) =
            machine::run(&pickle).map_err(|why| Error::malformed(path, format!("its data.pkl: {why}")))?;
        Ok(TorchFile { path: path.to_path_buf(), archive, nodes, root })
    }

    /// The text keys of the dictionary at `place`, in the file's order; `&[]` is the outermost.
    ///
    /// # Errors
    /// [`Error::Value`] when something on the way is not a dictionary or has no such key.
    pub fn keys(&self, place: &[&str]) -> Result<Vec<String>> {
        let items = self.dictionary(place)?.iter();
        Ok(items.filter_map(|(key, _)| self.text(*key).map(str::to_owned)).collect())
    }

    /// A text at `place`.
    ///
    /// # Errors
    /// [`Error::Value`] when there is none.
    pub fn string(&self, place: &[&str]) -> Result<String> {
        match self.nodes.get(self.at(place)?) {
            Node::Text(text) => Ok(text.clone()),
            other => Err(self.value_error(place, other, "a text")),
        }
    }

    /// All tensors of the dictionary at `place`, without the entries named in `except`.
    ///
    /// # Errors
    /// [`Error::Value`] when an entry is not a tensor, which names what would have been called; others when a tensor does
    /// not lie within its storage, or storages and tensors take more memory than the file can mean.
    pub fn tensors(&mut self, place: &[&str], except: &[&str]) -> Result<Tensors> {
        let mut wanted: BTreeMap<String, TensorNode> = BTreeMap::new();
        for &(key, value) in self.dictionary(place)? {
            let Some(name) = self.text(key) else {
                return Err(self.value_error(place, self.nodes.get(key), "a text as a key"));
            };
            if except.contains(&name) {
                continue;
            }
            match self.nodes.get(value) {
                Node::Tensor(tensor) => wanted.insert(name.to_owned(), tensor.clone()),
                other => return Err(self.value_error(&[place, &[name]].concat(), other, "a tensor")),
            };
        }
        self.read(wanted)
    }

    fn read(&mut self, wanted: BTreeMap<String, TensorNode>) -> Result<Tensors> {
        let mut budget = REUSE_LIMIT.saturating_mul(self.archive.storage_bytes());
        // Storage by storage, so that one which many tensors share is read once.
        let mut by_storage: BTreeMap<String, Vec<(String, TensorNode)>> = BTreeMap::new();
        for (name, tensor) in wanted {
            by_storage.entry(tensor.storage.key.clone()).or_default().push((name, tensor));
        }
        let mut tensors = Tensors::new();
        for (key, users) in by_storage {
            let bytes = self.archive.storage(&key)?;
            for (name, tensor) in users {
                let copied = strided::copied(&tensor, &bytes, &mut budget)
                    .map_err(|why| Error::malformed(&self.path, format!("tensor {name:?}: {why}")))?;
                tensors.insert(name, copied);
            }
        }
        Ok(tensors)
    }

    /// The value at the end of a path of keys.
    fn at(&self, place: &[&str]) -> Result<Id> {
        let Some((last, before)) = place.split_last() else { return Ok(self.root) };
        let found = self.dictionary(before)?.iter().rev().find(|(key, _)| self.text(*key) == Some(*last));
        found.map(|(_, value)| *value).ok_or_else(|| Error::Value {
            at: place.join("."),
            found: "absent".into(),
            wanted: "an entry of this name",
        })
    }

    fn dictionary(&self, place: &[&str]) -> Result<&[(Id, Id)]> {
        match self.nodes.get(self.at(place)?) {
            Node::Dictionary(items) => Ok(items),
            other => Err(self.value_error(place, other, "a dictionary")),
        }
    }

    fn text(&self, id: Id) -> Option<&str> {
        if let Node::Text(text) = self.nodes.get(id) { Some(text) } else { None }
    }

    fn value_error(&self, place: &[&str], found: &Node, wanted: &'static str) -> Error {
        let at = if place.is_empty() { "the outermost value".to_owned() } else { place.join(".") };
        Error::Value { at, found: self.nodes.describe(found), wanted }
    }
}
