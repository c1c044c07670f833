//! Evaluation on frozen features: how much of the labels can be read from what a network says about a sample,
//! without training the network any further.
//!
//! The modules stand in reading order: layer outputs are pooled ([`pooling`]) and gathered ([`features`]), probes
//! are fitted to them ([`linear_probe`], [`knn`], [`few_labels`]), every number gets its uncertainty
//! ([`intervals`], [`score`]), and several runs are laid side by side ([`report`], [`table`]), which is kept in the run
//! folder ([`record`]). The features come from the networks of a run ([`trained`]), run ([`extract`]) over labelled data
//! ([`probe_data`]); [`of_run`] puts all that together for one run. [`embedding_file`] writes features to disk instead, and [`args`] holds the command lines of
//! `d2v probe` and `d2v embed`.
//!
//! # What is fixed beforehand
//!
//! Nothing here is chosen by looking at the test part. The headline features are [`FeatureName::Average`]: the mean
//! of all blocks' outputs is what data2vec's targets are made of, and it needs no choice of a layer, which a
//! comparison of runs could otherwise win by luck. [`FeatureName::Last`] is always reported beside it. The penalty
//! of the linear probe and the number of neighbours are constants with a flag, not searched.

pub mod args;
pub mod pooling;

pub mod features;

pub mod standardise;

pub mod lbfgs;

pub mod linear_probe;

pub mod knn;

pub mod few_labels;

pub mod intervals;

pub mod score;

pub mod report;

pub mod table;

pub mod trained;

pub mod probe_data;

pub mod extract;

pub mod record;

pub mod of_run;

pub mod embedding_file;

mod draw;
mod error;
#[cfg(test)]
mod planted;
#[cfg(test)]
pub(crate) mod tiny_run;

pub use draw::{Part, choose_items};
pub use error::Error;
pub use features::{FeatureCollector, FeatureName, FeatureSet, Labelled, LayerOutputs};
pub use report::{Comparison, ProbeReport, Role, RunScores};
pub use score::{NetworkKind, Probe, ProbeSettings};
