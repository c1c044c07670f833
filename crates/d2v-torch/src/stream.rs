//! Queues of work on a CUDA device, and marks in them.
//!
//! What libtorch is asked to do on a CUDA device is put into the *current* stream of the thread and done later, in
//! order. A second stream runs beside it: copies, for instance ([`crate::upload`]). An [`Event`] is a mark in a stream
//! that other streams, or the host, wait for. Nothing of this exists on the CPU, where every call here is an error.
//!
//! CUDA graphs, which replay a recorded queue, are not here: recording needs CUDA's own headers when this crate is
//! compiled, and steps of speech and text differ in shape.

use crate::ffi::{self, check};
use crate::{Error, Result};
use std::ffi::c_void;
use tch::{Device, Tensor};

/// A queue of work on a CUDA device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    device: i32,
    id: i64,
}

impl Stream {
    /// A stream beside the current one, out of a pool that libtorch keeps for the process.
    ///
    /// # Errors
    /// If `device` is not a CUDA device, or CUDA is not loaded.
    pub fn from_pool(device: Device) -> Result<Stream> {
        let device = index(device)?;
        let mut id = 0;
        #[expect(unsafe_code, reason = "call into streams.cpp")]
        // SAFETY: the out argument is live for the length of the call.
        check(unsafe { ffi::d2v_stream_from_pool(device, &mut id) })?;
        Ok(Stream { device, id })
    }

    /// The stream that this thread gives its work to.
    ///
    /// # Errors
    /// As [`Stream::from_pool`].
    pub fn current(device: Device) -> Result<Stream> {
        let device = index(device)?;
        let mut id = 0;
        #[expect(unsafe_code, reason = "call into streams.cpp")]
        // SAFETY: the out argument is live for the length of the call.
        check(unsafe { ffi::d2v_stream_current(device, &mut id) })?;
        Ok(Stream { device, id })
    }

    /// Runs `body` with this as the current stream of the thread.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn with<T>(self, body: impl FnOnce() -> T) -> Result<T> {
        let previous = Stream { device: self.device, id: exchange(self)? };
        let restore = Restore(previous);
        let out = body();
        drop(restore);
        Ok(out)
    }

    /// Waits until everything given to this stream so far is done.
    ///
    /// # Errors
    /// If libtorch refuses, or something that was given to the stream failed.
    pub fn synchronize(self) -> Result<()> {
        #[expect(unsafe_code, reason = "call into streams.cpp")]
        // SAFETY: takes plain numbers, which libtorch handed out.
        check(unsafe { ffi::d2v_stream_synchronize(self.device, self.id) })
    }

    /// Lets everything given to this stream from now on wait for `event`; the host does not wait.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn wait_for(self, event: &Event) -> Result<()> {
        #[expect(unsafe_code, reason = "call into streams.cpp")]
        // SAFETY: the event is live for the length of the call.
        check(unsafe { ffi::d2v_event_block(event.pointer, self.device, self.id) })
    }

    /// Keeps the memory of `tensor`, made in another stream, until this one has done what reads it.
    ///
    /// # Errors
    /// If the tensor is not on a CUDA device.
    pub fn keeps(self, tensor: &Tensor) -> Result<()> {
        let pointer = ffi::pointer(tensor).cast_mut();
        #[expect(unsafe_code, reason = "call into streams.cpp")]
        // SAFETY: the tensor is live for the length of the call; it is only read.
        check(unsafe { ffi::d2v_record_stream(pointer, self.device, self.id) })
    }
}

fn index(device: Device) -> Result<i32> {
    match device {
        Device::Cuda(index) => Ok(index as i32),
        other => Err(Error::NoStreams(format!("{other:?}"))),
    }
}

fn exchange(to: Stream) -> Result<i64> {
    let mut previous = 0;
    #[expect(unsafe_code, reason = "call into streams.cpp")]
    // SAFETY: the out argument is live for the length of the call.
    check(unsafe { ffi::d2v_stream_exchange(to.device, to.id, &mut previous) })?;
    Ok(previous)
}

/// Makes a stream current again, also where a closure panics.
struct Restore(Stream);

impl Drop for Restore {
    fn drop(&mut self) {
        // What was current a moment ago can be made so again; a drop has nobody to tell.
        let _ = exchange(self.0);
    }
}

/// A mark in a stream.
#[derive(Debug)]
pub struct Event {
    pointer: *mut c_void,
}

impl Event {
    /// Marks the end of what `stream` has been given so far. `timed` events take a little longer and can be measured
    /// between.
    ///
    /// # Errors
    /// If libtorch refuses.
    pub fn record(stream: Stream, timed: bool) -> Result<Event> {
        let mut event = Event { pointer: std::ptr::null_mut() };
        #[expect(unsafe_code, reason = "call into streams.cpp, which hands over a new event")]
        // SAFETY: on success the pointer is a fresh event that we own and free once.
        unsafe {
            check(ffi::d2v_event_new(timed, &mut event.pointer))?;
            check(ffi::d2v_event_record(event.pointer, stream.device, stream.id))?;
        }
        Ok(event)
    }

    /// Whether the device has come to the mark.
    ///
    /// # Errors
    /// If something before the mark failed.
    pub fn is_done(&self) -> Result<bool> {
        let mut done = false;
        #[expect(unsafe_code, reason = "call into streams.cpp")]
        // SAFETY: event and out argument are live for the length of the call.
        check(unsafe { ffi::d2v_event_done(self.pointer, &mut done) })?;
        Ok(done)
    }

    /// Lets the host wait until the device has come to the mark.
    ///
    /// # Errors
    /// If something before the mark failed.
    pub fn synchronize(&self) -> Result<()> {
        #[expect(unsafe_code, reason = "call into streams.cpp")]
        // SAFETY: the event is live for the length of the call.
        check(unsafe { ffi::d2v_event_synchronize(self.pointer) })
    }

    /// Milliseconds of the device from this mark to a later one; both timed, and done.
    ///
    /// # Errors
    /// If one of them is not timed or not done.
    pub fn elapsed_ms(&self, later: &Event) -> Result<f64> {
        let mut ms = 0.0;
        #[expect(unsafe_code, reason = "call into streams.cpp")]
        // SAFETY: events and out argument are live for the length of the call.
        check(unsafe { ffi::d2v_event_elapsed_ms(self.pointer, later.pointer, &mut ms) })?;
        Ok(ms)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "frees what d2v_event_new made")]
        // SAFETY: the pointer is null or an event that nobody else frees.
        unsafe {
            ffi::d2v_event_free(self.pointer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::{Status, load};
    use tch::Kind;

    /// The first CUDA device; without one the tests that need it have nothing to look at.
    fn gpu() -> Option<Device> {
        matches!(load(), Status::Usable { .. }).then_some(Device::Cuda(0))
    }

    #[test]
    fn the_cpu_has_no_streams() {
        assert!(matches!(Stream::from_pool(Device::Cpu), Err(Error::NoStreams(_))));
        assert!(matches!(Stream::current(Device::Cpu), Err(Error::NoStreams(_))));
    }

    #[test]
    fn without_cuda_streams_are_an_error_and_no_abort() {
        if gpu().is_some() {
            return;
        }
        assert!(matches!(Stream::from_pool(Device::Cuda(0)), Err(Error::Libtorch(_))));
        let stream = Stream { device: 0, id: 0 };
        assert!(matches!(Event::record(stream, true), Err(Error::Libtorch(_))), "event");
        assert!(matches!(stream.with(|| ()), Err(Error::Libtorch(_))), "with");
        assert!(matches!(stream.synchronize(), Err(Error::Libtorch(_))), "synchronize");
    }

    #[test]
    fn streams_run_beside_each_other_and_wait() {
        let Some(device) = gpu() else { return };
        let (main, side) = (Stream::current(device).unwrap(), Stream::from_pool(device).unwrap());
        assert_ne!(main, side);
        let start = Event::record(side, true).unwrap();
        let sum = side
            .with(|| {
                assert_eq!(Stream::current(device).unwrap(), side, "inside");
                Tensor::ones([2048, 2048], (Kind::Float, device))
                    .matmul(&Tensor::ones([2048, 2048], (Kind::Float, device)))
            })
            .unwrap();
        assert_eq!(Stream::current(device).unwrap(), main, "outside");
        let end = Event::record(side, true).unwrap();
        main.keeps(&sum).unwrap();
        main.wait_for(&end).unwrap();
        assert_eq!((&sum + 1.0).max().double_value(&[]), 2049.0, "read before it was written");
        end.synchronize().unwrap();
        assert!(end.is_done().unwrap());
        assert!(start.elapsed_ms(&end).unwrap() > 0.0);
    }
}
