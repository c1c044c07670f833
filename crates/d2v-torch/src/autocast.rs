//! Matrix products in low precision for the length of a closure; tch's own autocast cannot choose the kind.

use crate::ffi::{self, check};
use crate::{Error, Result};
use tch::{Device, Kind};

/// c10's `DeviceType` and `ScalarType` numbers, fixed by libtorch's ABI.
const DEVICE_CPU: i32 = 0;
const DEVICE_CUDA: i32 = 1;
const SCALAR_HALF: i32 = 5;
const SCALAR_BFLOAT16: i32 = 15;

struct Guard {
    device: i32,
    was_enabled: bool,
    previous_type: i32,
}

impl Drop for Guard {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "call into d2v_native.cpp")]
        // SAFETY: plain values, taken from libtorch by `enter`. Restoring what was there cannot fail, and a drop
        // has nobody to tell.
        let _ = check(unsafe { ffi::d2v_autocast_leave(self.device, self.was_enabled, self.previous_type) });
    }
}

/// Runs `body` with autocast to `kind` on the device, or as it is where `kind` is [`Kind::Float`] or [`Kind::Double`].
///
/// Parameters keep their kind; matrix products and convolutions run in `kind`, norms, softmax and losses in f32.
///
/// # Errors
/// If `kind` is neither a full nor a half precision, or libtorch refuses.
pub fn with<T>(device: Device, kind: Kind, body: impl FnOnce() -> T) -> Result<T> {
    let scalar = match kind {
        Kind::Float | Kind::Double => return Ok(body()),
        Kind::BFloat16 => SCALAR_BFLOAT16,
        Kind::Half => SCALAR_HALF,
        other => return Err(Error::Libtorch(format!("autocast to {other:?}: use BFloat16 or Half"))),
    };
    let device = number(device);
    let mut guard = Guard { device, was_enabled: false, previous_type: 0 };
    #[expect(unsafe_code, reason = "call into d2v_native.cpp")]
    // SAFETY: the two out arguments are live for the length of the call.
    check(unsafe {
        ffi::d2v_autocast_enter(device, scalar, &mut guard.was_enabled, &mut guard.previous_type)
    })?;
    let out = body();
    drop(guard);
    Ok(out)
}

fn number(device: Device) -> i32 {
    if device.is_cuda() { DEVICE_CUDA } else { DEVICE_CPU }
}

/// What autocast on the device casts to in this thread now; [`Kind::Float`] where it is off.
///
/// # Errors
/// If libtorch refuses.
pub fn kind(device: Device) -> Result<Kind> {
    let (mut enabled, mut scalar) = (false, 0);
    #[expect(unsafe_code, reason = "call into d2v_native.cpp")]
    // SAFETY: the two out arguments are live for the length of the call.
    check(unsafe { ffi::d2v_autocast_state(number(device), &mut enabled, &mut scalar) })?;
    match (enabled, scalar) {
        (false, _) => Ok(Kind::Float),
        (true, SCALAR_BFLOAT16) => Ok(Kind::BFloat16),
        (true, SCALAR_HALF) => Ok(Kind::Half),
        (true, other) => {
            Err(Error::Libtorch(format!("autocast to scalar type {other}, which `with` never asks for")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Tensor;

    #[test]
    fn products_are_low_inside_and_full_outside() {
        let a = Tensor::randn([4, 4], (Kind::Float, Device::Cpu));
        let inside = with(Device::Cpu, Kind::BFloat16, || a.matmul(&a).kind()).unwrap();
        assert_eq!(inside, Kind::BFloat16, "inside");
        assert_eq!(
            with(Device::Cpu, Kind::BFloat16, || kind(Device::Cpu).unwrap()).unwrap(),
            Kind::BFloat16,
            "state"
        );
        assert_eq!(kind(Device::Cpu).unwrap(), Kind::Float, "state outside");
        assert_eq!(a.matmul(&a).kind(), Kind::Float, "outside");
        assert_eq!(with(Device::Cpu, Kind::Float, || a.matmul(&a).kind()).unwrap(), Kind::Float, "f32");
        assert!(with(Device::Cpu, Kind::Int, || ()).is_err(), "integers");
    }
}
