//! Tensors as they lie in files: a number type, a shape, little-endian bytes in row-major order.

use crate::{Error, Result};
use half::{bf16, f16};
use std::collections::BTreeMap;

/// The number types that weights and their companions come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// 64-bit floating point.
    F64,
    /// 32-bit floating point; all of our own weights.
    F32,
    /// 16-bit floating point, IEEE half precision.
    F16,
    /// 16-bit floating point with the exponent of f32.
    BF16,
    /// 64-bit signed integer.
    I64,
    /// 32-bit signed integer.
    I32,
    /// 16-bit signed integer.
    I16,
    /// 8-bit signed integer.
    I8,
    /// 8-bit unsigned integer.
    U8,
    /// Truth value, one byte.
    Bool,
}

impl DType {
    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            DType::F64 | DType::I64 => 8,
            DType::F32 | DType::I32 => 4,
            DType::F16 | DType::BF16 | DType::I16 => 2,
            DType::I8 | DType::U8 | DType::Bool => 1,
        }
    }
}

/// One tensor. Its bytes always fill its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    /// A tensor of `bytes`, little-endian, row-major.
    ///
    /// # Errors
    /// [`Error::TensorSize`] when there are more or fewer bytes than `shape` and `dtype` need.
    pub fn new(dtype: DType, shape: Vec<usize>, bytes: Vec<u8>) -> Result<Tensor> {
        if byte_len(dtype, &shape) == Some(bytes.len()) {
            Ok(Tensor { dtype, shape, bytes })
        } else {
            Err(Error::TensorSize { dtype, shape, bytes: bytes.len() })
        }
    }

    /// An f32 tensor of `values` in row-major order.
    ///
    /// # Errors
    /// [`Error::TensorSize`] when `values` do not fill `shape`.
    pub fn from_f32(shape: Vec<usize>, values: &[f32]) -> Result<Tensor> {
        Tensor::new(DType::F32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// Number type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Shape; empty for a single number.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Little-endian bytes in row-major order.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The values as f32: exact from f16 and bf16, rounded to nearest from f64. `None` unless floating point.
    pub fn to_f32_values(&self) -> Option<Vec<f32>> {
        let values = match self.dtype {
            DType::F32 => self.numbers().map(f32::from_le_bytes).collect(),
            DType::F16 => self.numbers().map(|bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
            DType::BF16 => self.numbers().map(|bytes| bf16::from_le_bytes(bytes).to_f32()).collect(),
            DType::F64 => self.numbers().map(|bytes| f64::from_le_bytes(bytes) as f32).collect(),
            _ => return None,
        };
        Some(values)
    }

    /// This tensor as f32. `name` is for the message only.
    ///
    /// # Errors
    /// [`Error::NotFloat`] for integers and truth values.
    pub fn to_f32(&self, name: &str) -> Result<Tensor> {
        if self.dtype == DType::F32 {
            return Ok(self.clone());
        }
        let values = self
            .to_f32_values()
            .ok_or_else(|| Error::NotFloat { name: name.to_owned(), dtype: self.dtype })?;
        Tensor::from_f32(self.shape.clone(), &values)
    }

    fn numbers<const SIZE: usize>(&self) -> impl Iterator<Item = [u8; SIZE]> + '_ {
        self.bytes.as_chunks::<SIZE>().0.iter().copied()
    }
}

/// Bytes of a tensor; `None` when they exceed the address space.
pub(crate) fn byte_len(dtype: DType, shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(dtype.size(), |len, &size| len.checked_mul(size))
}

/// Tensors by name, in the order of the names.
pub type Tensors = BTreeMap<String, Tensor>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_must_fill_the_shape() {
        assert!(Tensor::new(DType::F16, vec![2, 3], vec![0; 12]).is_ok());
        for (shape, bytes) in
            [(vec![2, 3], 11), (vec![], 1), (vec![usize::MAX, 2], 4), (vec![0, usize::MAX], 2)]
        {
            assert!(Tensor::new(DType::F16, shape.clone(), vec![0; bytes]).is_err(), "{shape:?} {bytes}");
        }
    }

    #[test]
    fn halves_become_f32_exactly() {
        let values = [0.5f32, -2.0, 65504.0, 6.103_515_6e-5];
        let halves = values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
        let tensor = Tensor::new(DType::F16, vec![4], halves).unwrap();
        assert_eq!(tensor.to_f32("w").unwrap().to_f32_values().unwrap(), values);
        let brain = [0.5f32, -2.0, 1e38].map(bf16::from_f32);
        let bytes = brain.iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensor = Tensor::new(DType::BF16, vec![3], bytes).unwrap();
        assert_eq!(tensor.to_f32_values().unwrap(), brain.map(bf16::to_f32));
    }

    #[test]
    fn integers_are_not_weights() {
        let tensor = Tensor::new(DType::I64, vec![1], vec![0; 8]).unwrap();
        assert!(matches!(tensor.to_f32("steps"), Err(Error::NotFloat { name, .. }) if name == "steps"));
    }
}
