//! The convolutions of the waveform front end, as matrix products on frames.
//!
//! Frames lie `[B, T, C]` throughout, so that layer norm runs over contiguous channels and nothing is transposed. A
//! kernel of `k` frames moved by `s` is cut into groups of at most `s` taps: a group's windows do not overlap, so they
//! are a view of the frames, and the convolution is a sum of matrix products on views, without a copy of its windows.

use crate::{ConvLayer, Error, Result};
use d2v_torch::{Init, Scope};
use d2v_transformer::LayerNorm;
use tch::{IndexOp, Tensor};

/// Below so many values a window is copied: a product over a handful of values would cost more than the copy.
const NARROW_WINDOW: i64 = 64;

/// Convolution, layer norm over channels, GELU; several of them.
#[derive(Debug)]
pub(crate) struct ConvStack {
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    /// `[C_out, C_in, k]`, as published weights have it.
    weight: Tensor,
    stride: i64,
    norm: LayerNorm,
}

impl ConvStack {
    /// Registers `I.conv.weight` and `I.norm.{weight,bias}` for each layer; weights start Kaiming normal.
    pub(crate) fn new(
        scope: &Scope<'_>,
        channels: i64,
        layers: &[ConvLayer],
        norm_eps: f64,
    ) -> Result<ConvStack> {
        let mut fan_in = channels;
        let mut made = Vec::with_capacity(layers.len());
        for (index, &ConvLayer { width, kernel, stride }) in layers.iter().enumerate() {
            let scope = scope.sub(index);
            let std = (2.0 / (fan_in * kernel) as f64).sqrt();
            made.push(Layer {
                weight: scope.sub("conv").param("weight", &[width, fan_in, kernel], Init::Normal { std })?,
                stride,
                norm: LayerNorm::new(&scope.sub("norm"), width, norm_eps)?,
            });
            fan_in = width;
        }
        Ok(ConvStack { layers: made })
    }

    /// Sound `[B, C, T]` to frames `[B, L, C_last]`.
    pub(crate) fn forward(&self, sound_bct: &Tensor) -> Result<Tensor> {
        let mut x_btc = sound_bct.transpose(1, 2).contiguous();
        for layer in &self.layers {
            let conv = convolve(&x_btc, &layer.weight, layer.stride)?;
            x_btc = layer.norm.forward(&conv).gelu("none");
        }
        Ok(x_btc)
    }
}

/// `[B, T, C]` with a kernel `[C_out, C, k]` moved by `stride`: `[B, (T - k)/stride + 1, C_out]`.
fn convolve(x_btc: &Tensor, weight: &Tensor, stride: i64) -> Result<Tensor> {
    let (size, kernel_size) = (x_btc.size(), weight.size());
    let (b, t, c) = (size[0], size[1], size[2]);
    let (out, kernel) = (kernel_size[0], kernel_size[2]);
    if t < kernel {
        let expected = format!("at least {kernel} frames for a kernel of {kernel}");
        return Err(Error::Shape { what: "sound", expected, got: size });
    }
    let outputs = (t - kernel) / stride + 1;
    if c * kernel <= NARROW_WINDOW {
        let windows = x_btc.unfold(1, kernel, stride).reshape([b, outputs, c * kernel]);
        return Ok(windows.linear(&weight.view([out, c * kernel]), None::<&Tensor>));
    }
    let mut sum: Option<Tensor> = None;
    let mut first = 0;
    while first < kernel {
        let taps = stride.min(kernel - first);
        let windows = if taps == stride {
            x_btc.narrow(1, first, outputs * stride).view([b, outputs, taps * c])
        } else if taps == 1 {
            x_btc.i((.., first..first + (outputs - 1) * stride + 1, ..)).slice(1, None, None, stride)
        } else {
            let span = (outputs - 1) * stride + taps;
            let windows = x_btc.narrow(1, first, span).unfold(1, taps, stride);
            windows.transpose(2, 3).reshape([b, outputs, taps * c])
        };
        let matrix = weight.narrow(2, first, taps).permute([2, 1, 0]).reshape([1, taps * c, out]);
        let matrix = matrix.expand([b, -1, -1], false);
        sum = Some(match sum {
            None => windows.bmm(&matrix),
            Some(sum) => sum.baddbmm(&windows, &matrix, 1.0, 1.0),
        });
        first += taps;
    }
    sum.ok_or_else(|| Error::Shape { what: "kernel", expected: "at least one tap".into(), got: kernel_size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use d2v_torch::seed::seeded;
    use tch::{Device, Kind};

    #[test]
    fn convolutions_and_their_gradients_are_those_of_libtorch() {
        let host = (Kind::Double, Device::Cpu);
        for (c, out, kernel, stride, t) in [
            (1, 6, 10, 5, 63),
            (3, 5, 4, 1, 20),
            (70, 4, 3, 2, 21),
            (70, 4, 2, 2, 9),
            (70, 4, 5, 3, 30),
            (70, 3, 3, 3, 9),
        ] {
            let (x, weight) =
                seeded(&[7], || (Tensor::randn([2, t, c], host), Tensor::randn([out, c, kernel], host)));
            let run = |ours: bool| {
                let (x, weight) = (x.copy().set_requires_grad(true), weight.copy().set_requires_grad(true));
                let y = if ours {
                    convolve(&x, &weight, stride).unwrap()
                } else {
                    x.transpose(1, 2).conv1d(&weight, None::<&Tensor>, stride, 0, 1, 1).transpose(1, 2)
                };
                (&y * &y).sum(Kind::Double).backward();
                [y.detach(), x.grad(), weight.grad()]
            };
            for (what, (ours, theirs)) in
                ["output", "input gradient", "weight gradient"].iter().zip(run(true).iter().zip(&run(false)))
            {
                let gap = (ours - theirs).abs().max().double_value(&[]);
                assert!(gap < 1e-10, "{what} of kernel {kernel}, stride {stride}, {c} channels: {gap:e}");
            }
        }
    }
}
