//! Tensors as bytes and back, bit for bit (NaN payloads and signed zeros included).

use crate::{Error, Result};
use tch::{Device, Kind, Tensor};

/// The elements of a tensor in row-major order, little-endian; a CUDA tensor is copied to the host.
///
/// # Errors
/// If libtorch refuses the copy.
pub fn to_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let host = tensor.detach().f_to_device(Device::Cpu)?.f_contiguous()?;
    let mut bytes = vec![0; host.numel() * host.kind().elt_size_in_bytes()];
    host.f_copy_data_u8(&mut bytes, host.numel())?;
    Ok(bytes)
}

/// A host tensor of `shape` and `kind` from its bytes.
///
/// # Errors
/// [`Error::ByteLength`] if their number does not fit shape and kind.
pub fn from_bytes(bytes: &[u8], shape: &[i64], kind: Kind) -> Result<Tensor> {
    let expected = shape
        .iter()
        .try_fold(kind.elt_size_in_bytes(), |n, &d| n.checked_mul(usize::try_from(d).ok()?))
        .filter(|&n| n == bytes.len());
    if expected.is_none() {
        let expected =
            shape.iter().map(|&d| d.max(0) as usize).fold(kind.elt_size_in_bytes(), usize::saturating_mul);
        return Err(Error::ByteLength { shape: shape.to_vec(), kind, expected, got: bytes.len() });
    }
    Ok(Tensor::f_from_data_size(bytes, shape, kind)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_keeps_every_bit() {
        let values = [f32::NAN, -0.0, f32::INFINITY, 1e-45, f32::from_bits(0x7fc0_1234), 3.5];
        let tensor = Tensor::from_slice(&values).reshape([2, 3]).transpose(0, 1);
        let bytes = to_bytes(&tensor).unwrap();
        let back = to_bytes(&from_bytes(&bytes, &[3, 2], Kind::Float).unwrap()).unwrap();
        assert_eq!(bytes, back, "bits changed");
        assert_eq!(bytes[4..8], values[3].to_le_bytes(), "row-major order of the transposed tensor");
    }

    #[test]
    fn a_wrong_length_is_an_error() {
        assert!(
            matches!(
                from_bytes(&[0; 7], &[2], Kind::Float),
                Err(Error::ByteLength { expected: 8, got: 7, .. })
            ),
            "7"
        );
        assert!(from_bytes(&[0; 8], &[-2], Kind::Float).is_err(), "negative");
        assert!(from_bytes(&[], &[i64::MAX, i64::MAX], Kind::Float).is_err(), "overflow");
    }
}
