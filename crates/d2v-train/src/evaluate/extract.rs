//! What networks make of a data set: their layers, batch by batch.

use std::sync::Arc;
use std::thread::available_parallelism;

use d2v_data::{Batch, Dataset, Evaluation, EvaluationConfig, SampleInfo, Transform};
use d2v_encoders::EncoderConfig;
use d2v_transformer::{BlockOutput, Pass};
use tch::{Device, Tensor, no_grad};

use super::Error;
use super::features::{FeatureCollector, FeatureName, Labelled, LayerOutputs};
use super::pooling::Pooling;
use crate::Result;
use crate::batches::{input_tensor, padding_of};
use crate::network::Network;

/// Samples that go through a network at once; of no influence on the features but rounding.
const BATCH_SIZE: usize = 64;
/// Threads that decode, at most: a network on a few cores is slower than that many decoders.
const MAX_DECODERS: usize = 8;

/// The layers of a network on one batch, nothing hidden, in an evaluation pass.
#[derive(Debug)]
pub struct Extracted {
    /// The input of the first block, `[B, L, D]`, extra tokens first.
    pub embedding_bld: Tensor,
    /// The output of each block, `[B, L, D]`.
    pub blocks_bld: Vec<Tensor>,
    /// The output of the stack, `[B, L, D]`.
    pub last_bld: Tensor,
    /// Bool `[B, L]`, true = not real; absent: all is real.
    pub padding_bl: Option<Tensor>,
    /// Tokens at the front that stand for no input position.
    pub extra_tokens: usize,
}

impl Extracted {
    /// Runs `network` on a raw input that lies on its device.
    ///
    /// # Errors
    /// If the input's shape does not suit the front end.
    pub fn of(network: &Network, input: &Tensor, padding_bl: Option<&Tensor>) -> Result<Self> {
        no_grad(|| {
            let features = network.front_end.features(input)?;
            let tokens = network.front_end.tokens(&features, None, padding_bl, Pass::Eval)?;
            let (blocks, last_bld) = network.transformer.forward_all(&tokens, Pass::Eval)?;
            let blocks_bld = blocks.into_iter().map(|BlockOutput { out, .. }| out).collect();
            let extra_tokens = tokens.extra as usize;
            Ok(Self {
                embedding_bld: tokens.tokens_bld,
                blocks_bld,
                last_bld,
                padding_bl: tokens.padding_bl,
                extra_tokens,
            })
        })
    }

    /// The layers by name.
    pub fn layers(&self) -> LayerOutputs<'_> {
        LayerOutputs {
            embedding_bld: &self.embedding_bld,
            blocks_bld: &self.blocks_bld,
            last_bld: &self.last_bld,
        }
    }
}

/// Goes through a data set once, in index order, and hands every batch with its input on `device` to `visit`.
///
/// Samples are transformed as `transform` says, usually by [`Transform::for_evaluation`]. Unreadable ones are left out
/// and told through the log.
///
/// # Errors
/// If more samples are unreadable than allowed, and whatever `visit` refuses.
pub fn visit_batches(
    data: Arc<dyn Dataset>,
    transform: Transform,
    encoder: &EncoderConfig,
    device: Device,
    mut visit: impl FnMut(&Batch, &Tensor, Option<&Tensor>) -> Result<()>,
) -> Result<()> {
    let threads = available_parallelism().map_or(1, |cores| cores.get().min(MAX_DECODERS));
    let config =
        EvaluationConfig { batch_size: BATCH_SIZE, threads, transform, ..EvaluationConfig::default() };
    let mut batches = Evaluation::new(data, config)?;
    while let Some(batch) = batches.next().transpose()? {
        let padding_bl = padding_of(encoder, &batch.inputs)?.map(|padding| padding.to_device(device));
        visit(&batch, &input_tensor(&batch.inputs).to_device(device), padding_bl.as_ref())?;
    }
    for skipped in batches.skipped() {
        tracing::warn!("left out {}: {}", skipped.name, skipped.reason);
    }
    Ok(())
}

/// Token means of the layers `names` of several networks over a labelled data set, read once for all of them: one list
/// per network, in the order of `names`.
///
/// # Errors
/// As [`visit_batches`]; a sample without a label, or a layer that a network lacks.
pub fn collect(
    networks: &[Network],
    data: &Arc<dyn Dataset>,
    transform: Transform,
    encoder: &EncoderConfig,
    names: &[FeatureName],
    device: Device,
) -> Result<Vec<Vec<(FeatureName, Labelled)>>> {
    let new_collector =
        |extra_tokens| FeatureCollector::new(names.to_vec(), Pooling::TokenMean { extra_tokens });
    let mut collectors: Vec<Option<FeatureCollector>> = networks.iter().map(|_| None).collect();
    visit_batches(Arc::clone(data), transform, encoder, device, |batch, input, padding_bl| {
        let label = |sample: &SampleInfo| {
            Ok(sample.label.ok_or_else(|| Error::Unlabelled { name: data.name(sample.index) })?)
        };
        let labels = batch.samples.iter().map(label).collect::<Result<Vec<u32>>>()?;
        for (network, collector) in networks.iter().zip(&mut collectors) {
            let extracted = Extracted::of(network, input, padding_bl)?;
            let collector = collector.get_or_insert_with(|| new_collector(extracted.extra_tokens));
            collector.push(extracted.layers(), extracted.padding_bl.as_ref(), &batch.ids(), &labels)?;
        }
        Ok(())
    })?;
    Ok(collectors.into_iter().map(|gathered| gathered.unwrap_or_else(|| new_collector(0)).finish()).collect())
}
