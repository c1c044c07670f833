//! Copies from the host that run beside the device's work.
//!
//! A copy from ordinary memory to a CUDA device makes the host wait for the device. From pinned memory, and in a stream
//! of its own, it runs while the device works on what came before: the next batch is there when it is wanted.

use crate::Result;
use crate::stream::{Event, Stream};
use tch::{Device, Tensor};

/// Sends tensors to a device.
#[derive(Debug)]
pub struct Uploader {
    device: Device,
    /// None for the CPU, where there is nothing to copy.
    beside: Option<Stream>,
}

/// The end of some copies.
#[derive(Debug)]
#[must_use = "what was sent may be read only after `wait`"]
pub struct Arrival {
    device: Device,
    event: Option<Event>,
}

impl Uploader {
    /// For this device.
    ///
    /// # Errors
    /// If it is a CUDA device and CUDA is not loaded.
    pub fn new(device: Device) -> Result<Uploader> {
        let beside = match device {
            Device::Cuda(_) => Some(Stream::from_pool(device)?),
            _ => None,
        };
        Ok(Uploader { device, beside })
    }

    /// Begins to copy a tensor of the host; the result may be read behind [`Arrival::wait`]. On the CPU it is the same
    /// tensor.
    ///
    /// # Errors
    /// If memory is exhausted, on the device or of the pinned kind on the host.
    pub fn send(&self, host: &Tensor) -> Result<Tensor> {
        let Some(beside) = self.beside else { return Ok(host.f_to_device(self.device)?) };
        // libtorch keeps the pinned memory until the copy is done.
        let pinned = host.f_pin_memory(self.device)?;
        let sent = beside.with(|| pinned.f_to_device_(self.device, host.kind(), true, false))??;
        // Made in the stream of the copies, read in that of the thread: not to be reused before the latter is done.
        Stream::current(self.device)?.keeps(&sent)?;
        Ok(sent)
    }

    /// The end of all that was sent so far.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn arrival(&self) -> Result<Arrival> {
        let event = self.beside.map(|stream| Event::record(stream, false)).transpose()?;
        Ok(Arrival { device: self.device, event })
    }
}

impl Arrival {
    /// Lets everything that this thread gives the device from now on wait for the copies. The host does not wait.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn wait(self) -> Result<()> {
        match &self.event {
            Some(event) => Stream::current(self.device)?.wait_for(event),
            None => Ok(()),
        }
    }
}

/// A copy of a small tensor of the host on `device`, for which the host does not wait, in the current stream; on the
/// CPU the same tensor.
///
/// # Errors
/// If memory is exhausted.
pub fn queued(host: &Tensor, device: Device) -> Result<Tensor> {
    match device {
        Device::Cuda(_) => Ok(host.f_pin_memory(device)?.f_to_device_(device, host.kind(), true, false)?),
        _ => Ok(host.f_to_device(device)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::{Status, load};
    use tch::Kind;

    fn arrives(device: Device) {
        let uploader = Uploader::new(device).unwrap();
        let sent: Vec<(Tensor, Tensor)> = (0..20)
            .map(|i| {
                let host = Tensor::full([300, 700], f64::from(i), (Kind::Float, Device::Cpu));
                let sent = uploader.send(&host).unwrap();
                (host, sent)
            })
            .collect();
        let more = Tensor::from_slice(&[true, false, true]);
        let mask = uploader.send(&more).unwrap();
        uploader.arrival().unwrap().wait().unwrap();
        for (host, sent) in &sent {
            assert_eq!((sent.device(), sent.kind()), (device, Kind::Float));
            assert!(sent.to_device(Device::Cpu).equal(host), "values");
        }
        assert!(mask.to_device(Device::Cpu).equal(&more), "another kind");
        assert!(queued(&more, device).unwrap().to_device(Device::Cpu).equal(&more), "in the current stream");
    }

    #[test]
    fn what_is_sent_arrives() {
        arrives(Device::Cpu);
        if matches!(load(), Status::Usable { .. }) {
            arrives(Device::Cuda(0));
        }
    }

    #[test]
    fn nothing_is_copied_on_the_cpu() {
        let host = Tensor::zeros([3], (Kind::Float, Device::Cpu));
        let uploader = Uploader::new(Device::Cpu).unwrap();
        assert_eq!(uploader.send(&host).unwrap().data_ptr(), host.data_ptr());
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        if !matches!(load(), Status::Usable { .. }) {
            assert!(Uploader::new(Device::Cuda(0)).is_err());
        }
    }
}
