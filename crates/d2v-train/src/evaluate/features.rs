//! Matrices of pooled features with labels, gathered batch by batch from layer outputs.
//!
//! Shapes: B batch, L positions, D width, N samples of a part.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::Error;
use super::pooling::{Pooling, pool};

/// Which of a network's outputs are the features. As text: `embedding`, `block 3`, `last`, `average`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum FeatureName {
    /// The mean of the outputs of all blocks, the embedding left out; the headline (see [the module](super)).
    Average,
    /// What the network passes on: the last block's output, after the final norm where there is one.
    Last,
    /// The input of the first block.
    Embedding,
    /// The output of one block, from 1.
    Block(usize),
}

impl fmt::Display for FeatureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Average => f.pad("average"),
            Self::Last => f.pad("last"),
            Self::Embedding => f.pad("embedding"),
            Self::Block(block) => f.pad(&format!("block {block}")),
        }
    }
}

impl FromStr for FeatureName {
    type Err = Error;

    /// Reads what [`Display`](fmt::Display) writes, and a bare number as a block.
    fn from_str(given: &str) -> Result<Self, Error> {
        match given {
            "average" => Ok(Self::Average),
            "last" => Ok(Self::Last),
            "embedding" => Ok(Self::Embedding),
            _ => match given.strip_prefix("block").unwrap_or(given).trim_start().parse() {
                Ok(block) if block > 0 => Ok(Self::Block(block)),
                _ => Err(Error::FeatureName { given: given.to_owned() }),
            },
        }
    }
}

impl From<FeatureName> for String {
    fn from(name: FeatureName) -> Self {
        name.to_string()
    }
}

impl TryFrom<String> for FeatureName {
    type Error = Error;

    fn try_from(given: String) -> Result<Self, Error> {
        given.parse()
    }
}

/// What a network makes of one batch: all tensors `[B, L, D]`, of any float kind, on any device.
#[derive(Debug, Clone, Copy)]
pub struct LayerOutputs<'a> {
    /// The input of the first block.
    pub embedding_bld: &'a Tensor,
    /// The output of each block, the first block first.
    pub blocks_bld: &'a [Tensor],
    /// The output of the last block, after the final norm where there is one.
    pub last_bld: &'a Tensor,
}

impl LayerOutputs<'_> {
    /// The tokens that `name` stands for, `[B, L, D]`; the average is taken in f32.
    ///
    /// # Errors
    /// [`Error::NoSuchBlock`], also for the average of a network without blocks.
    pub fn tokens(&self, name: FeatureName) -> Result<Tensor, Error> {
        let blocks = self.blocks_bld.len();
        match name {
            FeatureName::Embedding => Ok(self.embedding_bld.detach()),
            FeatureName::Last => Ok(self.last_bld.detach()),
            FeatureName::Block(block) => match block.checked_sub(1).and_then(|i| self.blocks_bld.get(i)) {
                Some(tokens_bld) => Ok(tokens_bld.detach()),
                None => Err(Error::NoSuchBlock { block, blocks }),
            },
            FeatureName::Average => {
                let (first, rest) =
                    self.blocks_bld.split_first().ok_or(Error::NoSuchBlock { block: 1, blocks })?;
                let mut sum_bld = first.detach().to_kind(Kind::Float).copy();
                for tokens_bld in rest {
                    sum_bld += tokens_bld.detach().to_kind(Kind::Float);
                }
                Ok(sum_bld / blocks as f64)
            }
        }
    }
}

/// One part of a data set as a probe sees it.
#[derive(Debug)]
pub struct Labelled {
    /// Sample ids, by which items of different runs are paired; N of them.
    pub ids: Vec<u64>,
    /// Class numbers from 0; N of them.
    pub labels: Vec<u32>,
    /// f32 on the CPU, `[N, D]`.
    pub features_nd: Tensor,
}

/// The same features of the training and the test part: all that a probe gets to see.
#[derive(Debug)]
pub struct FeatureSet {
    /// Which features these are.
    pub name: FeatureName,
    /// Number of classes.
    pub classes: usize,
    /// What probes are fitted to.
    pub train: Labelled,
    /// What they are scored on.
    pub test: Labelled,
}

impl FeatureSet {
    /// Checks everything that the probes rely on.
    ///
    /// # Errors
    /// An empty part, parts of different width, lists of different length, labels that are no class, features that
    /// are not finite, or a training part with a single class.
    pub fn new(name: FeatureName, classes: usize, train: Labelled, test: Labelled) -> Result<Self, Error> {
        for (part, labelled) in [("train", &train), ("test", &test)] {
            check_part(name, classes, part, labelled)?;
        }
        if train.features_nd.size()[1] != test.features_nd.size()[1] {
            return Err(Error::Shape {
                what: "width of the test features",
                expected: train.features_nd.size()[1].to_string(),
                got: test.features_nd.size()[1].to_string(),
            });
        }
        if train.labels.iter().all(|label| *label == train.labels[0]) {
            return Err(Error::OneClass { label: train.labels[0], samples: train.labels.len() });
        }
        Ok(Self { name, classes, train, test })
    }

    /// Pairs what two collectors gathered with the same names.
    ///
    /// # Errors
    /// As [`FeatureSet::new`], and [`Error::Shape`] where the names differ.
    pub fn pair(
        classes: usize,
        train: Vec<(FeatureName, Labelled)>,
        test: Vec<(FeatureName, Labelled)>,
    ) -> Result<Vec<Self>, Error> {
        let names = |part: &[(FeatureName, Labelled)]| part.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        if names(&train) != names(&test) {
            return Err(Error::Shape {
                what: "names of the test features",
                expected: format!("{:?}", names(&train)),
                got: format!("{:?}", names(&test)),
            });
        }
        let pairs = train.into_iter().zip(test);
        pairs.map(|((name, train), (_, test))| Self::new(name, classes, train, test)).collect()
    }
}

fn check_part(
    name: FeatureName,
    classes: usize,
    part: &'static str,
    labelled: &Labelled,
) -> Result<(), Error> {
    let Labelled { ids, labels, features_nd } = labelled;
    if labels.is_empty() {
        return Err(Error::Empty { part });
    }
    let size = features_nd.size();
    if size.len() != 2 || size[0] != labels.len() as i64 || ids.len() != labels.len() {
        return Err(Error::Shape {
            what: "features and ids",
            expected: format!("[{n}, D] and {n} ids", n = labels.len()),
            got: format!("{size:?} and {} ids", ids.len()),
        });
    }
    if features_nd.kind() != Kind::Float || features_nd.device() != Device::Cpu {
        return Err(Error::Shape {
            what: "kind and device of the features",
            expected: "Float on Cpu".into(),
            got: format!("{:?} on {:?}", features_nd.kind(), features_nd.device()),
        });
    }
    if let Some(&label) = labels.iter().find(|label| **label as usize >= classes) {
        return Err(Error::Label { label, part, classes });
    }
    let finite = features_nd.isfinite().sum(Kind::Int64).int64_value(&[]) as usize;
    let total = features_nd.numel();
    if finite < total {
        return Err(Error::NotFinite { name, part, bad: total - finite, total });
    }
    Ok(())
}

/// Gathers pooled features of several layers while a network runs over one part of a data set.
///
/// Only `[B, D]` per batch and name is kept, in f32 on the CPU: 10,000 samples of width 768 take 31 MB per name.
#[derive(Debug)]
pub struct FeatureCollector {
    names: Vec<FeatureName>,
    pooling: Pooling,
    /// Per name, one `[B, D]` per batch.
    pooled_bd: Vec<Vec<Tensor>>,
    ids: Vec<u64>,
    labels: Vec<u32>,
}

impl FeatureCollector {
    /// An empty collector of the features `names`, all pooled in the same way.
    pub fn new(names: Vec<FeatureName>, pooling: Pooling) -> Self {
        let pooled_bd = names.iter().map(|_| Vec::new()).collect();
        Self { names, pooling, pooled_bd, ids: Vec::new(), labels: Vec::new() }
    }

    /// Adds one batch: its layer outputs, its padding `[B, L]` (true = not real), and an id and a label per row.
    ///
    /// # Errors
    /// A layer that the network lacks, lists that do not fit the batch, and whatever [`pool`] refuses; nothing of
    /// the batch is kept then.
    pub fn push(
        &mut self,
        layers: LayerOutputs<'_>,
        padding_bl: Option<&Tensor>,
        ids: &[u64],
        labels: &[u32],
    ) -> Result<(), Error> {
        let batch = layers.embedding_bld.size().first().copied().unwrap_or(0) as usize;
        if ids.len() != batch || labels.len() != batch {
            return Err(Error::Shape {
                what: "ids and labels of the batch",
                expected: format!("{batch} each"),
                got: format!("{} ids, {} labels", ids.len(), labels.len()),
            });
        }
        let pooled = tch::no_grad(|| {
            let pool_one = |name: &FeatureName| {
                let pooled_bd = pool(&layers.tokens(*name)?, self.pooling, padding_bl)?;
                Ok(pooled_bd.to_device(Device::Cpu))
            };
            self.names.iter().map(pool_one).collect::<Result<Vec<_>, Error>>()
        })?;
        for (gathered, pooled_bd) in self.pooled_bd.iter_mut().zip(pooled) {
            gathered.push(pooled_bd);
        }
        self.ids.extend_from_slice(ids);
        self.labels.extend_from_slice(labels);
        Ok(())
    }

    /// Samples gathered so far.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether nothing has been gathered.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The gathered matrices, in the order of the names.
    pub fn finish(self) -> Vec<(FeatureName, Labelled)> {
        let Self { names, pooled_bd, ids, labels, .. } = self;
        let matrices = pooled_bd.into_iter().map(|batches| match batches.as_slice() {
            [] => Tensor::zeros([0, 0], (Kind::Float, Device::Cpu)),
            batches => Tensor::cat(batches, 0),
        });
        let parts =
            matrices.map(|features_nd| Labelled { ids: ids.clone(), labels: labels.clone(), features_nd });
        names.into_iter().zip(parts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constant(value: f64) -> Tensor {
        Tensor::full([2, 3, 4], value, (Kind::Float, Device::Cpu))
    }

    fn labelled(labels: &[u32]) -> Labelled {
        let n = labels.len();
        let features_nd = Tensor::arange(2 * n as i64, (Kind::Float, Device::Cpu)).reshape([n as i64, 2]);
        Labelled { ids: (0..n as u64).collect(), labels: labels.to_vec(), features_nd }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        use FeatureName::{Average, Block, Embedding, Last};
        for name in [Average, Last, Embedding, Block(12)] {
            assert_eq!(name.to_string().parse::<FeatureName>().expect("own text"), name);
            let json = serde_json::to_string(&name).expect("text");
            assert_eq!(serde_json::from_str::<FeatureName>(&json).expect("own json"), name);
        }
        assert_eq!("3".parse::<FeatureName>().expect("a number"), Block(3));
        for wrong in ["", "0", "block", "block 0", "-1", "Average", "best"] {
            assert!(matches!(wrong.parse::<FeatureName>(), Err(Error::FeatureName { .. })), "{wrong}");
        }
    }

    #[test]
    fn every_name_gives_its_layer() {
        let (embedding, blocks, last) = (constant(1.0), [constant(2.0), constant(4.0)], constant(8.0));
        let layers = LayerOutputs { embedding_bld: &embedding, blocks_bld: &blocks, last_bld: &last };
        let names = [FeatureName::Embedding, FeatureName::Block(2), FeatureName::Average, FeatureName::Last];
        let mut collector = FeatureCollector::new(names.to_vec(), Pooling::TokenMean { extra_tokens: 1 });
        for batch in 0..3 {
            collector.push(layers, None, &[2 * batch, 2 * batch + 1], &[0, 1]).expect("a good batch");
        }
        assert_eq!(collector.len(), 6);
        for ((name, part), (expected, value)) in
            collector.finish().into_iter().zip(names.into_iter().zip([1.0, 4.0, 3.0, 8.0]))
        {
            assert_eq!(name, expected);
            assert_eq!(part.ids, [0, 1, 2, 3, 4, 5]);
            assert_eq!(part.features_nd.size(), [6, 4]);
            assert_eq!(part.features_nd.min().double_value(&[]), value);
            assert_eq!(part.features_nd.max().double_value(&[]), value);
        }
    }

    #[test]
    fn a_bad_batch_leaves_no_trace() {
        let (embedding, blocks) = (constant(1.0), [constant(2.0)]);
        let layers = LayerOutputs { embedding_bld: &embedding, blocks_bld: &blocks, last_bld: &embedding };
        let names = vec![FeatureName::Last, FeatureName::Block(2)];
        let mut collector = FeatureCollector::new(names, Pooling::ClassToken {});
        let missing = collector.push(layers, None, &[0, 1], &[0, 1]);
        assert!(matches!(missing, Err(Error::NoSuchBlock { block: 2, blocks: 1 })));
        assert!(matches!(collector.push(layers, None, &[0], &[0, 1]), Err(Error::Shape { .. })));
        assert!(collector.is_empty());
        assert!(collector.finish().iter().all(|(_, part)| part.features_nd.numel() == 0));
    }

    #[test]
    fn what_no_probe_can_use_is_refused() {
        let make = |train, test| FeatureSet::new(FeatureName::Last, 2, train, test);
        assert!(make(labelled(&[0, 1]), labelled(&[1])).is_ok());
        assert!(matches!(make(labelled(&[]), labelled(&[1])), Err(Error::Empty { part: "train" })));
        assert!(matches!(make(labelled(&[0, 1]), labelled(&[])), Err(Error::Empty { part: "test" })));
        assert!(matches!(
            make(labelled(&[1, 1]), labelled(&[1])),
            Err(Error::OneClass { label: 1, samples: 2 })
        ));
        assert!(matches!(
            make(labelled(&[0, 1]), labelled(&[2])),
            Err(Error::Label { label: 2, part: "test", classes: 2 })
        ));
        let mut infinite = labelled(&[0, 1]);
        let _ = infinite.features_nd.get(0).fill_(f64::NAN);
        assert!(matches!(
            make(infinite, labelled(&[0])),
            Err(Error::NotFinite { part: "train", bad: 2, total: 4, .. })
        ));
        infinite = labelled(&[0, 1]);
        infinite.ids.pop();
        assert!(matches!(make(infinite, labelled(&[0])), Err(Error::Shape { .. })));
    }
}
