//! Tensors in files to tensors in networks, and back; bytes are kept.

use super::Error;
use crate::Result;
use d2v_torch::Parameters;
use d2v_torch::bytes::{from_bytes, to_bytes};
use d2v_weights::{DType, Tensor, Tensors};
use tch::Kind;

/// Parameters on the CPU, f32.
///
/// # Errors
/// If a tensor is not floating point, or libtorch refuses.
pub fn parameters(tensors: &Tensors) -> Result<Parameters> {
    let convert = |(name, tensor): (&String, &Tensor)| {
        let tensor = tensor.to_f32(name).map_err(Error::from)?;
        let shape: Vec<i64> = tensor.shape().iter().map(|&size| size as i64).collect();
        Ok((name.clone(), from_bytes(tensor.bytes(), &shape, Kind::Float)?))
    };
    tensors.iter().map(convert).collect()
}

/// Tensors for files, f32.
///
/// # Errors
/// If libtorch refuses.
pub fn tensors(parameters: &Parameters) -> Result<Tensors> {
    let convert = |(name, tensor): (&str, &tch::Tensor)| {
        let shape = tensor.size().iter().map(|&size| size as usize).collect();
        let bytes = to_bytes(&tensor.detach().to_kind(Kind::Float))?;
        Ok((name.to_owned(), Tensor::new(DType::F32, shape, bytes).map_err(Error::from)?))
    };
    parameters.iter().map(convert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_both_ways() {
        let values = [f32::MIN_POSITIVE, -0.0, 3.5, f32::from_bits(0x7fc0_1234), 1e-45, 7.0];
        let given = Tensors::from([
            ("a".to_owned(), Tensor::from_f32(vec![2, 3], &values).unwrap()),
            ("scalar".to_owned(), Tensor::from_f32(vec![], &[1.5]).unwrap()),
        ]);
        let loaded = parameters(&given).unwrap();
        assert_eq!(loaded.get("a").unwrap().size(), [2, 3]);
        assert_eq!(tensors(&loaded).unwrap(), given);
    }

    #[test]
    fn integers_are_no_weights() {
        let given = Tensors::from([("n".to_owned(), Tensor::new(DType::I64, vec![1], vec![0; 8]).unwrap())]);
        assert!(parameters(&given).unwrap_err().to_string().contains("\"n\""));
    }
}
