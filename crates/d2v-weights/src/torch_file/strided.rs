//! A tensor's numbers, copied out of its storage in row-major order.

use super::node::TensorNode;
use crate::Tensor;
use crate::tensors::byte_len;

/// Copies what a view of `storage` shows. `budget` is how many bytes may still be copied.
///
/// A view never shows more numbers than the storage holds; repeating ones (stride 0, as of `expand`) are refused where
/// they do. Errors are sentences that complete "tensor NAME: ".
pub(super) fn copied(tensor: &TensorNode, storage: &[u8], budget: &mut u64) -> Result<Tensor, String> {
    let dtype = tensor.storage.dtype;
    let present = (storage.len() / dtype.size()) as u64;
    if tensor.storage.len.checked_mul(dtype.size() as u64) != Some(storage.len() as u64) {
        return Err(format!(
            "its storage should hold {} numbers, the file has {present}",
            tensor.storage.len
        ));
    }
    let shape: Vec<usize> = tensor
        .shape
        .iter()
        .map(|&size| usize::try_from(size))
        .collect::<Result<_, _>>()
        .map_err(|_| TOO_LARGE)?;
    let len = byte_len(dtype, &shape).ok_or(TOO_LARGE)?;
    if len > storage.len() {
        return Err("it repeats numbers of its storage; save a copy of it (`contiguous()`)".into());
    }
    *budget = budget.checked_sub(len as u64).ok_or("too many tensors share one storage")?;
    if len == 0 {
        return Tensor::new(dtype, shape, Vec::new()).map_err(|error| error.to_string());
    }
    // No size is 0 from here on, and the last number has the highest index of all.
    let last =
        tensor.shape.iter().zip(&tensor.strides).try_fold(tensor.offset, |index, (size, stride)| {
            index.checked_add((size - 1).checked_mul(*stride)?)
        });
    if last.is_none_or(|last| last >= present) {
        return Err(format!("it reaches beyond its storage of {present} numbers"));
    }

    let strides: Vec<usize> = tensor.strides.iter().map(|&stride| stride as usize).collect();
    let mut bytes = Vec::with_capacity(len);
    let mut index = vec![0; shape.len()];
    // Rows along the last axis are copied at once where they lie side by side.
    let (row, row_stride) = (shape.last().copied().unwrap_or(1), strides.last().copied().unwrap_or(1));
    let outer = shape.len().saturating_sub(1);
    loop {
        let start =
            tensor.offset as usize + index.iter().zip(&strides).map(|(i, stride)| i * stride).sum::<usize>();
        if row_stride == 1 || row == 1 {
            bytes.extend_from_slice(&storage[start * dtype.size()..(start + row) * dtype.size()]);
        } else {
            for i in 0..row {
                let at = (start + i * row_stride) * dtype.size();
                bytes.extend_from_slice(&storage[at..at + dtype.size()]);
            }
        }
        // The next row: count up from the last axis but one.
        let Some(axis) = (0..outer).rev().find(|&axis| index[axis] + 1 < shape[axis]) else { break };
        index[axis] += 1;
        index[axis + 1..outer].fill(0);
    }
    Tensor::new(dtype, shape, bytes).map_err(|error| error.to_string())
}

const TOO_LARGE: &str = "its shape exceeds the address space";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;
    use crate::torch_file::node::StorageNode;

    /// A view of a storage that holds the bytes 0, 1, 2, ..., 11.
    fn view(offset: u64, shape: &[u64], strides: &[u64]) -> Result<Vec<u8>, String> {
        let storage = StorageNode { key: "0".into(), dtype: DType::U8, len: 12 };
        let tensor = TensorNode { storage, offset, shape: shape.to_vec(), strides: strides.to_vec() };
        let numbers: Vec<u8> = (0..12).collect();
        copied(&tensor, &numbers, &mut 12).map(|tensor| tensor.bytes().to_vec())
    }

    #[track_caller]
    fn check(offset: u64, shape: &[u64], strides: &[u64], expected: &[u8]) {
        assert_eq!(view(offset, shape, strides).unwrap(), expected);
    }

    #[test]
    fn views_are_copied_in_row_major_order() {
        check(0, &[3, 4], &[4, 1], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        check(0, &[4, 3], &[1, 4], &[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
        check(4, &[2, 2], &[4, 2], &[4, 6, 8, 10]);
        check(1, &[2, 1, 2], &[6, 9, 1], &[1, 2, 7, 8]);
        check(0, &[2, 3, 2], &[6, 1, 3], &[0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
        check(5, &[], &[], &[5]);
        check(99, &[0, 3], &[3, 1], &[]);
        check(3, &[2, 2], &[0, 1], &[3, 4, 3, 4]);
    }

    #[test]
    fn nothing_outside_the_storage_is_read() {
        for (offset, shape, strides) in [
            (0, &[13][..], &[1][..]),
            (1, &[12], &[1]),
            (12, &[1], &[1]),
            (0, &[2, 2], &[u64::MAX, 1]),
            (u64::MAX, &[2], &[1]),
            (0, &[u64::MAX, 2], &[1, 1]),
            (0, &[1 << 40], &[0]),
        ] {
            assert!(view(offset, shape, strides).is_err(), "{offset} {shape:?} {strides:?}");
        }
    }
}
