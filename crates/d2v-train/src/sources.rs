//! The data set of a configuration: its path, or the built-in one of the modality.

use crate::Result;
use crate::config::DataConfig;
use d2v_data::{Dataset, Split, SyntheticImages, Transform, open};
use std::sync::Arc;

/// A data set.
#[derive(Clone)]
pub struct Source {
    /// The samples.
    pub dataset: Arc<dyn Dataset>,
}

/// Opens the data of a configuration.
///
/// # Errors
/// If the path holds nothing that can be read.
pub fn open_source(config: &DataConfig, split: Split) -> Result<Source> {
    let dataset: Arc<dyn Dataset> = match (&config.transform, &config.path) {
        (Transform::Image(_), Some(path)) => Arc::from(open(path, split, &config.open)?),
        (Transform::Image(_), None) => Arc::new(SyntheticImages::new(config.synthetic, split)?),
        _ => todo!(),
    };
    Ok(Source { dataset })
}
