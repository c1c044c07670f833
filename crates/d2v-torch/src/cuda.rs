//! CUDA, found at run time: one program serves machines with and without it.
//!
//! The program links only the CPU part of libtorch. Where the full libtorch of the same version lies beside it
//! (a PyTorch in Python, or `cargo xtask setup --cuda`), [`load`] adds CUDA to the running process.

use crate::ffi::{self, check};
use crate::{Error, Result};
use std::sync::OnceLock;
use tch::Device;

/// What became of the search for CUDA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Usable, with this many devices.
    Usable {
        /// Number of devices.
        devices: usize,
    },
    /// libtorch's CUDA part could not be loaded; the loader's words.
    NotLoaded(String),
    /// It was loaded, but found no driver or no device.
    NoDevice,
}

/// Loads libtorch's CUDA part once and says what was found.
pub fn load() -> &'static Status {
    static STATUS: OnceLock<Status> = OnceLock::new();
    STATUS.get_or_init(|| {
        if !tch::Cuda::is_available() {
            #[cfg(unix)]
            {
                use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
                #[expect(unsafe_code, reason = "loading a library runs its initialisers")]
                // SAFETY: libtorch_cuda registers its kernels with the dispatcher of the libtorch_cpu already
                // loaded; it is made to be loaded so, and it is never unloaded.
                match unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) } {
                    Ok(library) => std::mem::forget(library),
                    Err(error) => return Status::NotLoaded(error.to_string()),
                }
            }
            #[cfg(not(unix))]
            return Status::NotLoaded("run-time loading is implemented for unix only".into());
        }
        match tch::Cuda::device_count() {
            n if n > 0 && tch::Cuda::is_available() => Status::Usable { devices: n as usize },
            _ => Status::NoDevice,
        }
    })
}

/// Parses `cpu`, `cuda` or `cuda:N`, loading CUDA where it is asked for.
///
/// # Errors
/// [`Error::UnknownDevice`] for other words, [`Error::CudaUnavailable`] with the reason where CUDA cannot be used.
pub fn device(name: &str) -> Result<Device> {
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => 0,
        other => other
            .strip_prefix("cuda:")
            .and_then(|n| n.parse::<usize>().ok())
            .ok_or_else(|| Error::UnknownDevice(other.into()))?,
    };
    match load() {
        Status::Usable { devices } if index < *devices => Ok(Device::Cuda(index)),
        Status::Usable { devices } => Err(Error::CudaUnavailable(format!(
            "device {index} was asked for, there are {devices}, counted from 0"
        ))),
        Status::NotLoaded(why) => Err(Error::CudaUnavailable(why.clone())),
        Status::NoDevice => Err(Error::CudaUnavailable("no driver, or no device".into())),
    }
}

/// Bytes of device memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Held by tensors now.
    pub allocated: i64,
    /// Held by tensors at most since the start or the last [`reset_peak`].
    pub peak: i64,
    /// Of the device.
    pub total: i64,
}

/// Memory figures of a CUDA device.
///
/// # Errors
/// If libtorch has no allocator for it (CUDA not loaded).
pub fn memory(index: usize) -> Result<Memory> {
    let mut memory = Memory { allocated: 0, peak: 0, total: 0 };
    #[expect(unsafe_code, reason = "call into d2v_native.cpp")]
    // SAFETY: the three out arguments are live for the length of the call.
    check(unsafe {
        ffi::d2v_cuda_memory(index as i32, &mut memory.allocated, &mut memory.peak, &mut memory.total)
    })?;
    Ok(memory)
}

/// Starts a new measurement of [`Memory::peak`].
///
/// # Errors
/// As [`memory`].
pub fn reset_peak(index: usize) -> Result<()> {
    #[expect(unsafe_code, reason = "call into d2v_native.cpp")]
    // SAFETY: takes a plain number.
    check(unsafe { ffi::d2v_cuda_reset_peak(index as i32) })
}

/// Waits until a device has done all it was given; nothing to wait for on the CPU.
pub fn synchronize(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices() {
        assert_eq!(device("cpu").unwrap(), Device::Cpu, "cpu");
        for bad in ["gpu", "cuda:", "cuda:x", "cuda:-1", ""] {
            assert!(matches!(device(bad), Err(Error::UnknownDevice(_))), "{bad}");
        }
    }

    #[test]
    fn cuda_is_usable_or_says_why_not() {
        match load() {
            Status::Usable { devices } => {
                assert_eq!(device("cuda").unwrap(), Device::Cuda(0), "first device");
                assert!(device(&format!("cuda:{devices}")).is_err(), "one past the last");
                assert!(memory(0).unwrap().total > 0, "memory");
            }
            _ => assert!(matches!(device("cuda"), Err(Error::CudaUnavailable(_))), "no device"),
        }
    }
}
