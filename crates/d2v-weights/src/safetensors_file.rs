//! Safetensors: one file, or several with an index.
//!
//! The header is checked against the file's length before any tensor is read, so that a forged size takes no memory.

use crate::whole_file::{read_up_to, write_whole};
use crate::{DType, Error, Result, Tensor, Tensors};
use safetensors::tensor::{Dtype, Metadata, TensorView};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Component, Path};

/// Longest header, as in the safetensors library.
const HEADER_LIMIT: u64 = 100_000_000;
/// Longest index; that of a model with 10,000 tensors is 1 MB.
const INDEX_LIMIT: u64 = 16_000_000;
/// The one file of a model that is not split.
pub(crate) const SINGLE: &str = "model.safetensors";
/// The list of which tensor is in which file.
const INDEX: &str = "model.safetensors.index.json";

/// Reads all tensors of a safetensors file, in the number types they have there.
///
/// # Errors
/// When the file cannot be read, breaks the format, or holds a number type that weights do not come in.
pub fn read_safetensors(path: &Path) -> Result<Tensors> {
    let file = File::open(path).map_err(Error::io(path))?;
    let file_len = file.metadata().map_err(Error::io(path))?.len();
    let mut file = BufReader::new(file);
    let mut header_len = [0; 8];
    file.read_exact(&mut header_len).map_err(Error::io(path))?;
    let header_len = u64::from_le_bytes(header_len);
    Error::check_limit(
        format!("the header of {}", path.display()),
        header_len,
        HEADER_LIMIT.min(file_len.saturating_sub(8)),
    )?;
    let mut header = vec![0; header_len as usize];
    file.read_exact(&mut header).map_err(Error::io(path))?;

    let header: Metadata = serde_json::from_slice(&header).map_err(|error| Error::malformed(path, error))?;
    let promised = header.data_len() as u64;
    let present = file_len - 8 - header_len;
    if promised != present {
        let why = format!("its header promises {promised} bytes of tensors, there are {present}");
        return Err(Error::malformed(path, why));
    }
    let mut tensors = Tensors::new();
    // In the order of offsets, which the header's own check has found to be without gaps.
    for name in header.offset_keys() {
        let info =
            header.info(&name).ok_or_else(|| Error::malformed(path, "its header contradicts itself"))?;
        let dtype = dtype_from(info.dtype)
            .ok_or_else(|| Error::malformed(path, format!("{name:?} holds {:?}", info.dtype)))?;
        let mut bytes = vec![0; info.data_offsets.1 - info.data_offsets.0];
        file.read_exact(&mut bytes).map_err(Error::io(path))?;
        tensors.insert(name.clone(), Tensor::new(dtype, info.shape.clone(), bytes)?);
    }
    Ok(tensors)
}

/// Whether a folder has weights as safetensors, in one file or several.
pub(crate) fn has_safetensors(folder: &Path) -> bool {
    folder.join(SINGLE).is_file() || folder.join(INDEX).is_file()
}

/// Reads `model.safetensors` of a folder, or the parts that `model.safetensors.index.json` names.
///
/// # Errors
/// When neither exists, a part is not a plain file name in this folder, or index and parts disagree.
pub fn read_safetensors_folder(folder: &Path) -> Result<Tensors> {
    let single = folder.join(SINGLE);
    let index = folder.join(INDEX);
    match (single.is_file(), index.is_file()) {
        (true, _) => read_safetensors(&single),
        (false, true) => read_parts(folder, &index),
        (false, false) => Err(Error::malformed(folder, format!("it holds neither {SINGLE} nor {INDEX}"))),
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn read_parts(folder: &Path, index: &Path) -> Result<Tensors> {
    let parsed: Index = serde_json::from_slice(&read_up_to(index, INDEX_LIMIT)?)
        .map_err(|error| Error::malformed(index, error))?;
    let mut tensors = Tensors::new();
    for part in parsed.weight_map.values().collect::<BTreeSet<_>>() {
        let plain = Path::new(part).components().eq([Component::Normal(part.as_ref())]);
        if !plain || !part.ends_with(".safetensors") {
            return Err(Error::malformed(
                index,
                format!("part {part:?} is not a .safetensors file beside it"),
            ));
        }
        for (name, tensor) in read_safetensors(&folder.join(part))? {
            if parsed.weight_map.get(&name) != Some(part) {
                return Err(Error::malformed(
                    index,
                    format!("it does not place {name:?} in {part:?}, but there it is"),
                ));
            }
            tensors.insert(name, tensor);
        }
    }
    match parsed.weight_map.keys().find(|name| !tensors.contains_key(*name)) {
        Some(name) => Err(Error::malformed(index, format!("{name:?} is not in the part it names"))),
        None => Ok(tensors),
    }
}

/// Writes tensors as one safetensors file, marked as coming from PyTorch as transformers demands.
///
/// The order in the file is fixed (number type, then name), so equal tensors give equal files. The file appears whole.
///
/// # Errors
/// When the file cannot be written.
pub fn write_safetensors(path: &Path, tensors: &Tensors) -> Result<()> {
    let views = tensors
        .iter()
        .map(|(name, tensor)| Ok((name.as_str(), view(tensor)?)))
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|error: safetensors::SafeTensorError| Error::malformed(path, error))?;
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    write_whole(path, |aside| {
        safetensors::serialize_to_file(views, Some(format), aside)
            .map_err(|error| Error::malformed(path, error))
    })
}

fn view(tensor: &Tensor) -> std::result::Result<TensorView<'_>, safetensors::SafeTensorError> {
    TensorView::new(dtype_to(tensor.dtype()), tensor.shape().to_vec(), tensor.bytes())
}

/// The pairs of number types, once for both directions.
const DTYPES: [(DType, Dtype); 10] = [
    (DType::F64, Dtype::F64),
    (DType::F32, Dtype::F32),
    (DType::F16, Dtype::F16),
    (DType::BF16, Dtype::BF16),
    (DType::I64, Dtype::I64),
    (DType::I32, Dtype::I32),
    (DType::I16, Dtype::I16),
    (DType::I8, Dtype::I8),
    (DType::U8, Dtype::U8),
    (DType::Bool, Dtype::BOOL),
];

fn dtype_from(theirs: Dtype) -> Option<DType> {
    DTYPES.iter().find(|pair| pair.1 == theirs).map(|pair| pair.0)
}

fn dtype_to(ours: DType) -> Dtype {
    DTYPES.iter().find(|pair| pair.0 == ours).expect("the table lists every DType").1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn some(names: &[&str]) -> Tensors {
        let tensor = |i: usize| Tensor::from_f32(vec![2, i + 1], &vec![i as f32; 2 * (i + 1)]).unwrap();
        names.iter().enumerate().map(|(i, name)| ((*name).to_owned(), tensor(i))).collect()
    }

    /// A folder with an index over the given `(tensor, part)` pairs, and the parts themselves.
    fn split(map: &[(&str, &str)], parts: &[(&str, &[&str])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let map: BTreeMap<_, _> = map.iter().copied().collect();
        let index = serde_json::json!({ "metadata": { "total_size": 0 }, "weight_map": map });
        fs::write(folder.path().join(INDEX), index.to_string()).unwrap();
        for (part, names) in parts {
            write_safetensors(&folder.path().join(part), &some(names)).unwrap();
        }
        folder
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SINGLE);
        let mut tensors = some(&["b", "a"]);
        for (dtype, _) in DTYPES {
            tensors.insert(
                format!("{dtype:?}"),
                Tensor::new(dtype, vec![3], vec![1; 3 * dtype.size()]).unwrap(),
            );
        }
        write_safetensors(&path, &tensors).unwrap();
        assert_eq!(read_safetensors_folder(folder.path()).unwrap(), tensors);
    }

    #[test]
    fn parts_are_joined() {
        let folder = split(
            &[("a", "1.safetensors"), ("b", "2.safetensors")],
            &[("1.safetensors", &["a"]), ("2.safetensors", &["b"])],
        );
        let names: Vec<_> = read_safetensors_folder(folder.path()).unwrap().into_keys().collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[track_caller]
    fn check_refused(map: &[(&str, &str)], parts: &[(&str, &[&str])], says: &str) {
        let error = read_safetensors_folder(split(map, parts).path()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn an_index_that_disagrees_with_its_parts_is_refused() {
        check_refused(
            &[("a", "1.safetensors"), ("b", "1.safetensors")],
            &[("1.safetensors", &["a"])],
            "\"b\" is not",
        );
        check_refused(&[("a", "1.safetensors")], &[("1.safetensors", &["a", "b"])], "does not place \"b\"");
    }

    #[test]
    fn parts_cannot_lie_elsewhere() {
        for part in
            ["../1.safetensors", "/etc/1.safetensors", "x/1.safetensors", "./1.safetensors", "", "passwd"]
        {
            check_refused(&[("a", part)], &[], "is not a .safetensors file beside it");
        }
    }

    #[test]
    fn forged_lengths_are_refused_before_reading() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SINGLE);
        fs::write(&path, u64::MAX.to_le_bytes()).unwrap();
        assert!(matches!(read_safetensors(&path), Err(Error::Limit { .. })));
        write_safetensors(&path, &some(&["a"])).unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let error = read_safetensors(&path).unwrap_err().to_string();
        assert!(error.contains("promises 8 bytes of tensors, there are 7"), "{error}");
    }
}
