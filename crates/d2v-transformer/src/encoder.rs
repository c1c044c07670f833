//! The stack of blocks.

use crate::{Block, BlockOrder, BlockOutput, Error, LayerNorm, Pass, Result, Tokens, TransformerConfig};
use d2v_torch::Scope;
use d2v_torch::checkpoint::checkpoint;
use d2v_torch::seed::seeded;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use tch::Tensor;

/// Which tensor of a block; see [`BlockOutput`] for where each is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intermediate {
    /// Output of self-attention (the paper's ablation; as a target it fails).
    Attention,
    /// Output of the feed-forward layers before the residual (speech, text, all of 2.0).
    FeedForward,
    /// The sum after the feed-forward residual, before a post-norm block's norm.
    Residual,
    /// End of the block (images 1.0).
    Block,
}

impl Intermediate {
    fn of(self, output: BlockOutput) -> Tensor {
        match self {
            Intermediate::Attention => output.attention.scaled(),
            Intermediate::FeedForward => output.feed_forward.scaled(),
            Intermediate::Residual => output.residual,
            Intermediate::Block => output.out,
        }
    }
}

/// Which rows of the last layer are wanted.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// All positions: `[B, L, D]`.
    All,
    /// The rows at these ascending int64 indices into the `B·L` positions (extra tokens counted): `[M, D]`. The last
    /// block computes keys and values of the others, and nothing else; the result is that of [`Wanted::All`], gathered.
    Rows(&'a Tensor),
}

/// One tensor of each of some consecutive blocks, the last of them still to be computed.
#[derive(Debug)]
pub struct Intermediates<'a> {
    what: Intermediate,
    below_bld: Vec<Tensor>,
    last: &'a Block,
    x_bld: Tensor,
    mask: Option<Tensor>,
}

impl Intermediates<'_> {
    /// At all positions, `[B, L, D]` each, the lowest block first.
    ///
    /// # Errors
    /// If memory is exhausted.
    pub fn everywhere(&self) -> Result<Vec<Tensor>> {
        self.with_last(self.below_bld.iter().map(Tensor::shallow_clone), None)
    }

    /// At the rows of these ascending int64 indices into the `B·L` positions alone, `[M, D]` each, the lowest block first.
    ///
    /// # Errors
    /// If memory is exhausted.
    pub fn at(&self, rows_m: &Tensor) -> Result<Vec<Tensor>> {
        let gathered = |layer: &Tensor| layer.flatten(0, 1).index_select(0, rows_m);
        self.with_last(self.below_bld.iter().map(gathered), Some(rows_m))
    }

    fn with_last(&self, below: impl Iterator<Item = Tensor>, rows_m: Option<&Tensor>) -> Result<Vec<Tensor>> {
        let output = self.last.forward(&self.x_bld, self.mask.as_ref(), rows_m, Pass::Eval)?;
        Ok(below.chain([self.what.of(output)]).collect())
    }
}

/// The Transformer encoder.
#[derive(Debug)]
pub struct Transformer {
    config: TransformerConfig,
    input_norm: Option<LayerNorm>,
    blocks: Vec<Block>,
    norm: Option<LayerNorm>,
}

impl Transformer {
    /// Registers `blocks.0` …, where configured `input_norm`, and for pre-norm the final `norm`.
    ///
    /// # Errors
    /// If the configuration is invalid or a name is taken.
    pub fn new(scope: &Scope<'_>, config: &TransformerConfig) -> Result<Transformer> {
        config.validate()?;
        let norm = match config.order {
            BlockOrder::PreNorm => Some(LayerNorm::new(&scope.sub("norm"), config.width, config.norm_eps)?),
            BlockOrder::PostNorm => None,
        };
        let input_norm = match config.input_norm {
            true => Some(LayerNorm::new(&scope.sub("input_norm"), config.width, config.norm_eps)?),
            false => None,
        };
        let blocks = scope.sub("blocks");
        Ok(Transformer {
            config: config.clone(),
            input_norm,
            blocks: (0..config.depth)
                .map(|i| Block::new(&blocks.sub(i), config, i))
                .collect::<Result<_>>()?,
            norm,
        })
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// The student's way: the last layer's output (after the final norm of a pre-norm stack) where it is wanted.
    ///
    /// `watch` is called with the index and the detached output of every block that was run, for statistics.
    ///
    /// # Errors
    /// If the tokens' shapes do not fit.
    pub fn encode(
        &self,
        tokens: &Tokens,
        wanted: Wanted<'_>,
        pass: Pass,
        mut watch: Option<&mut dyn FnMut(usize, Tensor)>,
    ) -> Result<Tensor> {
        let (mut x, mask) = self.enter(tokens, pass)?;
        let mut gathered = false;
        for (index, block) in self.blocks.iter().enumerate() {
            if pass.drops_layer(index, self.config.layer_drop) {
                continue;
            }
            let rows = match wanted {
                Wanted::Rows(rows_m) if index + 1 == self.blocks.len() => Some(rows_m),
                _ => None,
            };
            gathered = rows.is_some();
            x = self.student_block(block, x, mask.as_ref(), rows, pass)?;
            if let Some(watch) = &mut watch {
                watch(index, x.detach());
            }
        }
        if let Wanted::Rows(rows_m) = wanted
            && !gathered
        {
            x = x.reshape([-1, self.config.width]).index_select(0, rows_m);
        }
        Ok(match &self.norm {
            Some(norm) => norm.forward(&x),
            None => x,
        })
    }

    /// The teacher's way: one tensor of each block in `layers` (from 0), and nothing behind them: no block above the
    /// last one wanted, no final norm. The last one is computed when it is asked for, where it is wanted. Always an
    /// evaluation pass.
    ///
    /// # Errors
    /// If `layers` is empty or reaches beyond the stack, or the tokens' shapes do not fit.
    pub fn intermediates(
        &self,
        tokens: &Tokens,
        what: Intermediate,
        layers: Range<usize>,
    ) -> Result<Intermediates<'_>> {
        if layers.is_empty() || layers.end > self.blocks.len() {
            let value = format!("{}..{} of {} blocks", layers.start, layers.end, self.blocks.len());
            return Err(Error::Config { key: "layers", value, rule: "must lie within the stack" });
        }
        let (mut x_bld, mask) = self.enter(tokens, Pass::Eval)?;
        let last = &self.blocks[layers.end - 1];
        let mut below_bld = Vec::with_capacity(layers.len());
        for (index, block) in self.blocks[..layers.end - 1].iter().enumerate() {
            let output = block.forward(&x_bld, mask.as_ref(), None, Pass::Eval)?;
            x_bld = output.out.shallow_clone();
            if layers.contains(&index) {
                below_bld.push(what.of(output));
            }
        }
        Ok(Intermediates { what, below_bld, last, x_bld, mask })
    }

    /// Everything: the outputs of all blocks, and the stack's output (after the final norm of a pre-norm stack).
    ///
    /// # Errors
    /// If the tokens' shapes do not fit.
    pub fn forward_all(&self, tokens: &Tokens, pass: Pass) -> Result<(Vec<BlockOutput>, Tensor)> {
        let (mut x, mask) = self.enter(tokens, pass)?;
        let mut outputs = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let output = block.forward(&x, mask.as_ref(), None, pass)?;
            x = output.out.shallow_clone();
            outputs.push(output);
        }
        let last = match &self.norm {
            Some(norm) => norm.forward(&x),
            None => x,
        };
        Ok((outputs, last))
    }

    /// The output of a block, its inside kept for the backward pass or made again there.
    ///
    /// Element-wise dropout draws from libtorch's generator, seeded anew for each block: a second run draws the same.
    fn student_block(
        &self,
        block: &Block,
        x: Tensor,
        mask: Option<&Tensor>,
        rows_m: Option<&Tensor>,
        pass: Pass,
    ) -> Result<Tensor> {
        let Pass::Train { key, recompute } = pass else {
            return Ok(block.forward(&x, mask, rows_m, pass)?.out);
        };
        let place = self.config.draws().then(|| [key, block.index() as u64]);
        let run = move |block: &Block, x: &Tensor, mask: Option<&Tensor>, rows_m: Option<&Tensor>| {
            let forward = || block.forward(x, mask, rows_m, pass);
            match &place {
                Some(place) => seeded(place, forward),
                None => forward(),
            }
        };
        if !recompute {
            return Ok(run(block, &x, mask, rows_m)?.out);
        }
        let (block, rows_m) = (block.shared(), rows_m.map(Tensor::shallow_clone));
        let mut inputs = vec![x];
        // A bias of attention has a gradient of its own, so it is an input too.
        inputs.extend(mask.map(Tensor::shallow_clone));
        let body = move |inputs: &[Tensor]| match run(&block, &inputs[0], inputs.get(1), rows_m.as_ref()) {
            Ok(output) => Ok(output.out),
            Err(error) => Err(d2v_torch::Error::Libtorch(error.to_string())),
        };
        Ok(checkpoint(&inputs, Box::new(body))?)
    }

    /// What enters the first block, and what is added to the logits of all.
    fn enter(&self, tokens: &Tokens, pass: Pass) -> Result<(Tensor, Option<Tensor>)> {
        tokens.check_width(self.config.width)?;
        let x = match &self.input_norm {
            Some(norm) => norm.forward(&tokens.tokens_bld),
            None => tokens.tokens_bld.shallow_clone(),
        };
        Ok((pass.dropout(x, self.config.input_dropout), tokens.attention_mask()?))
    }
}
