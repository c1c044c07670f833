//! Named tensors to a safetensors file and back, bit for bit.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

use super::manifest::{FileRecord, hex};
use super::{CheckpointError, Damage, Damaged, folders};

/// Kinds that are stored, with their names in safetensors.
const KINDS: [(Kind, Dtype); 9] = [
    (Kind::Float, Dtype::F32),
    (Kind::Double, Dtype::F64),
    (Kind::BFloat16, Dtype::BF16),
    (Kind::Half, Dtype::F16),
    (Kind::Int64, Dtype::I64),
    (Kind::Int, Dtype::I32),
    (Kind::Int16, Dtype::I16),
    (Kind::Int8, Dtype::I8),
    (Kind::Uint8, Dtype::U8),
];

/// Writes a new file and waits until it is on the disk. At most one tensor at a time is copied.
///
/// # Errors
/// If a tensor is of a kind that is not stored, or the system refuses.
pub(super) fn write(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<FileRecord, CheckpointError> {
    let refused = |name: &str, problem: String| CheckpointError::Tensor {
        path: path.to_owned(),
        name: name.to_owned(),
        problem,
    };

    let mut ordered = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let kind = tensor.f_kind().map_err(|error| refused(name, error.to_string()))?;
        let Some(&(_, dtype)) = KINDS.iter().find(|(stored, _)| *stored == kind) else {
            return Err(refused(name, format!("kind {kind:?} is not stored; convert it first")));
        };
        if name == "__metadata__" {
            return Err(refused(name, "safetensors keeps this name for itself; rename it".to_owned()));
        }
        ordered.push((name, tensor, dtype, kind.elt_size_in_bytes()));
    }
    // Wide kinds first keep every tensor aligned; the sort is stable, so names stay in order.
    ordered.sort_by_key(|&(.., width)| std::cmp::Reverse(width));

    let mut offset = 0;
    let mut infos = Vec::with_capacity(ordered.len());
    for &(name, tensor, dtype, width) in &ordered {
        let shape = tensor.size().iter().map(|&size| size as usize).collect();
        let end = offset + tensor.numel() * width;
        infos.push((name.clone(), TensorInfo { dtype, shape, data_offsets: (offset, end) }));
        offset = end;
    }
    let header = Metadata::new(None, infos)
        .and_then(|metadata| Ok(serde_json::to_vec(&metadata)?))
        .map_err(|error| refused("(header)", error.to_string()))?;

    let mut file = Hashed::create(path)?;
    let padding = header.len().next_multiple_of(8) - header.len();
    file.write(&((header.len() + padding) as u64).to_le_bytes())?;
    file.write(&header)?;
    file.write(&b"        "[..padding])?;
    let mut data = Vec::new();
    for (name, tensor, _, width) in ordered {
        data.resize(tensor.numel() * width, 0);
        // Also brings it to the CPU and into the usual order.
        tensor.f_copy_data_u8(&mut data, tensor.numel()).map_err(|error| refused(name, error.to_string()))?;
        file.write(&data)?;
    }
    file.finish()
}

/// Writes named tensors to a safetensors file of their own, outside any checkpoint; one that is there is replaced.
///
/// It is written aside, synced, and renamed into place: a crash leaves the old file or the new one.
///
/// # Errors
/// If a tensor's kind is not stored, or the system refuses.
pub fn write_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<(), CheckpointError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".writing");
    let aside = Path::new(&aside);
    match fs::remove_file(aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(CheckpointError::io("remove", aside)(error));
        }
        _ => {}
    }
    write(aside, tensors)?;
    fs::rename(aside, path).map_err(CheckpointError::io("rename", aside))?;
    match path.parent() {
        Some(folder) if folder != Path::new("") => folders::sync(folder),
        _ => folders::sync(Path::new(".")),
    }
}

/// Writes bytes to a new file and waits until they are on the disk.
pub(super) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let mut file = Hashed::create(path)?;
    file.write(bytes)?;
    file.finish().map(|_| ())
}

/// A file whose size and checksum are taken as it is written.
struct Hashed<'a> {
    path: &'a Path,
    file: BufWriter<File>,
    digest: Sha256,
    bytes: u64,
}

impl<'a> Hashed<'a> {
    fn create(path: &'a Path) -> Result<Self, CheckpointError> {
        let file = File::create_new(path).map_err(CheckpointError::io("create", path))?;
        Ok(Self { path, file: BufWriter::new(file), digest: Sha256::new(), bytes: 0 })
    }

    fn write(&mut self, data: &[u8]) -> Result<(), CheckpointError> {
        self.digest.update(data);
        self.bytes += data.len() as u64;
        self.file.write_all(data).map_err(CheckpointError::io("write", self.path))
    }

    fn finish(self) -> Result<FileRecord, CheckpointError> {
        let file = self.file.into_inner().map_err(|error| error.into_error());
        file.and_then(|file| file.sync_all()).map_err(CheckpointError::io("write", self.path))?;
        Ok(FileRecord { bytes: self.bytes, sha256: hex(&self.digest.finalize()) })
    }
}

/// Reads a file that must be as recorded; tensors are on the CPU.
///
/// # Errors
/// [`CheckpointError::Damaged`] if it is not as recorded, [`CheckpointError::Io`] if the system refuses.
pub(super) fn read(path: &Path, record: &FileRecord) -> Result<BTreeMap<String, Tensor>, CheckpointError> {
    let damaged = |damage| Damaged { file: path.to_owned(), damage };
    let content = |problem: String| damaged(Damage::Content { problem });
    let bytes = read_bytes(path, |found| {
        let expected = record.bytes;
        if found == expected { Ok(()) } else { Err(Damage::Size { expected, found }) }
    })?;
    if hex(&Sha256::digest(&bytes)) != record.sha256 {
        return Err(damaged(Damage::Checksum).into());
    }
    let file = SafeTensors::deserialize(&bytes).map_err(|error| content(error.to_string()))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let Some(&(kind, _)) = KINDS.iter().find(|(_, stored)| *stored == view.dtype()) else {
            return Err(content(format!(
                "tensor {name} has kind {:?}, which is not stored here",
                view.dtype()
            ))
            .into());
        };
        let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, kind)
            .map_err(|error| content(format!("tensor {name}: {error}")))?;
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}

/// The bytes of a plain file whose size `check` accepts, before any of it is allocated.
///
/// # Errors
/// As [`read`].
pub(super) fn read_bytes(
    path: &Path,
    check: impl FnOnce(u64) -> Result<(), Damage>,
) -> Result<Vec<u8>, CheckpointError> {
    let damaged = |damage| Damaged { file: path.to_owned(), damage };
    // Asked by path before it is opened: opening a pipe would wait for ever.
    let size = match path.metadata() {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Err(damaged(Damage::Missing).into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(damaged(Damage::Missing).into());
        }
        Err(error) => return Err(CheckpointError::io("read", path)(error)),
    };
    check(size).map_err(damaged)?;
    let mut bytes = Vec::new();
    let too_large = |_| std::io::Error::from(std::io::ErrorKind::OutOfMemory);
    usize::try_from(size)
        .map_err(too_large)
        .and_then(|size| bytes.try_reserve_exact(size).map_err(|_| std::io::ErrorKind::OutOfMemory.into()))
        .and_then(|()| File::open(path)?.take(size).read_to_end(&mut bytes))
        .map_err(CheckpointError::io("read", path))?;
    if bytes.len() as u64 != size {
        return Err(damaged(Damage::Size { expected: size, found: bytes.len() as u64 }).into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bytes of a tensor in the usual order.
    fn bits(tensor: &Tensor) -> Vec<u8> {
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        bytes
    }

    /// Writes, reads, and compares kinds, shapes and bits.
    #[track_caller]
    fn check(tensors: &BTreeMap<String, Tensor>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("student.safetensors");
        let record = write(&path, tensors).unwrap();
        let read = read(&path, &record).unwrap();
        let describe = |tensors: &BTreeMap<String, Tensor>| -> Vec<_> {
            tensors.iter().map(|(name, t)| (name.clone(), t.kind(), t.size(), bits(t))).collect()
        };
        assert_eq!(describe(&read), describe(tensors));
    }

    fn named(tensor: Tensor) -> BTreeMap<String, Tensor> {
        BTreeMap::from([("x".to_owned(), tensor)])
    }

    /// Any kind, up to three dimensions of up to four, any bits: NaNs with payloads, -0, denormals.
    fn any_tensor() -> impl Strategy<Value = Tensor> {
        let shape = proptest::collection::vec(0..5_i64, 0..4);
        (0..KINDS.len(), shape).prop_flat_map(|(kind, shape)| {
            let kind = KINDS[kind].0;
            let bytes = shape.iter().product::<i64>() as usize * kind.elt_size_in_bytes();
            let special = prop_oneof![Just(0x00), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()];
            proptest::collection::vec(special, bytes)
                .prop_map(move |bytes| Tensor::from_data_size(&bytes, &shape, kind))
        })
    }

    proptest! {
        #[test]
        fn every_bit_survives(tensors in proptest::collection::btree_map(".{0,8}", any_tensor(), 0..6)) {
            check(&tensors);
        }
    }

    #[test]
    fn views_and_trained_tensors_are_stored_by_value() {
        let matrix = Tensor::arange(12, (Kind::Float, tch::Device::Cpu)).reshape([3, 4]);
        check(&named(matrix.transpose(0, 1)));
        check(&named(matrix.slice(1, 1, 4, 2)));
        check(&named(matrix.select(0, 1).expand([5, 4], false)));
        check(&named(matrix.set_requires_grad(true)));
    }

    #[test]
    fn the_file_is_what_others_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let tensors = [("b", Kind::Half), ("a", Kind::Half), ("c", Kind::Double)]
            .map(|(name, kind)| (name.to_owned(), Tensor::ones([3], (kind, tch::Device::Cpu))));
        write(&path, &tensors.into()).unwrap();
        let bytes = fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let starts: Vec<(String, usize)> = file
            .iter()
            .map(|(name, view)| (name.to_owned(), view.data().as_ptr() as usize - bytes.as_ptr() as usize))
            .collect();
        let start = |name: &str| starts.iter().find(|(n, _)| n == name).unwrap().1;
        assert!(start("c") % 8 == 0 && start("c") < start("a") && start("a") < start("b"), "{starts:?}");
        assert_eq!(file.tensor("c").unwrap().data()[..8], 1.0_f64.to_le_bytes());
    }

    #[test]
    fn what_cannot_be_stored_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let truth = Tensor::ones([2], (Kind::Bool, tch::Device::Cpu));
        let error = write(&path, &named(truth)).unwrap_err().to_string();
        assert!(error.contains("tensor x") && error.contains("kind Bool"), "{error}");
        let reserved = BTreeMap::from([("__metadata__".to_owned(), Tensor::from(1.0))]);
        assert!(write(&path, &reserved).unwrap_err().to_string().contains("rename it"));
        assert!(!path.exists());
    }

    #[test]
    fn a_file_of_its_own_replaces_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("batch.safetensors");
        fs::write(folder.path().join("batch.safetensors.writing"), b"of a killed run").unwrap();
        for value in [1.0, 2.0] {
            write_tensors(&path, &named(Tensor::from(value))).unwrap();
            let bytes = fs::read(&path).unwrap();
            let file = SafeTensors::deserialize(&bytes).unwrap();
            assert_eq!(file.tensor("x").unwrap().data(), f64::to_le_bytes(value));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn content_is_checked_though_the_checksum_fits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let header = br#"{"x":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4]}}"#;
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
        write_bytes(&path, &bytes).unwrap();
        let record = FileRecord { bytes: bytes.len() as u64, sha256: hex(&Sha256::digest(&bytes)) };
        let error = read(&path, &record).unwrap_err();
        assert!(
            matches!(&error, CheckpointError::Damaged(Damaged { damage: Damage::Content { .. }, .. })),
            "{error}"
        );
    }
}
