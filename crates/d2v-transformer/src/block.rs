//! One block, in either order, with every intermediate that a target can be made of.

use crate::attention::Attention;
use crate::feed_forward::FeedForward;
use crate::pass::BranchPlace;
use crate::{BlockOrder, LayerNorm, Pass, Result, TransformerConfig};
use d2v_torch::{Init, Scope};
use tch::Tensor;

/// What a block computes; each is `[B, L, D]`, or `[M, D]` where rows were chosen.
#[derive(Debug)]
pub struct BlockOutput {
    /// Self-attention after its projection, before the residual.
    pub attention: Branch,
    /// The second feed-forward layer, before the residual.
    pub feed_forward: Branch,
    /// The sum after the second residual, before a post-norm block's norm; a pre-norm block's output.
    pub residual: Tensor,
    /// The block's output.
    pub out: Tensor,
}

/// What a branch adds to the residual stream, before dropout and drop path.
#[derive(Debug)]
pub struct Branch {
    unscaled: Tensor,
    scale: Option<Tensor>,
}

impl Branch {
    fn new(unscaled: Tensor, scale: Option<&Tensor>) -> Branch {
        Branch { unscaled, scale: scale.map(Tensor::shallow_clone) }
    }

    /// The branch with LayerScale applied, as the reference takes its targets. A product of its own: the block
    /// itself multiplies and adds in one kernel.
    pub fn scaled(&self) -> Tensor {
        match &self.scale {
            Some(scale) => &self.unscaled * scale,
            None => self.unscaled.shallow_clone(),
        }
    }
}

/// A Transformer block.
#[derive(Debug)]
pub struct Block {
    order: BlockOrder,
    norm1: LayerNorm,
    attention: Attention,
    norm2: LayerNorm,
    feed_forward: FeedForward,
    scales: Option<(Tensor, Tensor)>,
    dropout: f64,
    drop_path: f64,
    index: usize,
}

impl Block {
    /// Registers block `index` (from 0).
    ///
    /// # Errors
    /// If a name is taken.
    pub fn new(scope: &Scope<'_>, config: &TransformerConfig, index: usize) -> Result<Block> {
        let d = config.width;
        let scales = match config.layer_scale {
            Some(start) => {
                let init = Init::Constant(start);
                Some((scope.param("gamma_1", &[d], init)?, scope.param("gamma_2", &[d], init)?))
            }
            None => None,
        };
        Ok(Block {
            order: config.order,
            norm1: LayerNorm::new(&scope.sub("norm1"), d, config.norm_eps)?,
            attention: Attention::new(&scope.sub("attn"), config, index)?,
            norm2: LayerNorm::new(&scope.sub("norm2"), d, config.norm_eps)?,
            feed_forward: FeedForward::new(&scope.sub("mlp"), config, index)?,
            scales,
            dropout: config.dropout,
            drop_path: config.drop_path_of(index),
            index,
        })
    }

    /// Its place in the stack, from 0.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// The same block: tensors shared, so that the backward pass can run it after this one is borrowed by others.
    pub(crate) fn shared(&self) -> Block {
        Block {
            order: self.order,
            norm1: self.norm1.shared(),
            attention: self.attention.shared(),
            norm2: self.norm2.shared(),
            feed_forward: self.feed_forward.shared(),
            scales: self.scales.as_ref().map(|(one, two)| (one.shallow_clone(), two.shallow_clone())),
            dropout: self.dropout,
            drop_path: self.drop_path,
            index: self.index,
        }
    }

    /// Runs the block on `x_bld`; `mask` is added to the attention logits.
    ///
    /// With `rows_m` (ascending int64 indices into the `B·L` positions) everything but keys and values is computed for
    /// those rows alone: the last block of a network whose other positions nobody reads.
    ///
    /// Pre-norm: `x += g1·attn(norm1(x)); x += g2·ffn(norm2(x))`. Post-norm: `x = norm1(x + attn(x));
    /// x = norm2(x + ffn(x))` (spec 2.1, 2.2).
    ///
    /// # Errors
    /// If shapes or kinds do not fit.
    pub fn forward(
        &self,
        x_bld: &Tensor,
        mask: Option<&Tensor>,
        rows_m: Option<&Tensor>,
        pass: Pass,
    ) -> Result<BlockOutput> {
        let size = x_bld.size();
        let (samples, positions) = (size[0], size[1]);
        let sample_m = rows_m.map(|rows| rows.divide_scalar_mode(positions, "floor"));
        // x + DropPath(scale · dropout(branch)), in one kernel where anything is scaled.
        let add = |x: &Tensor, branch: &Branch, number: usize| -> Result<Tensor> {
            let unscaled = pass.dropout(branch.unscaled.shallow_clone(), self.dropout);
            let place = BranchPlace { block: self.index, branch: number, samples };
            let kept = pass.kept_paths(self.drop_path, place, x, sample_m.as_ref())?;
            Ok(match (&branch.scale, kept) {
                (Some(scale), Some(kept)) => x.addcmul(&unscaled, &(kept * scale)),
                (Some(scale), None) => x.addcmul(&unscaled, scale),
                (None, Some(kept)) => x.addcmul(&unscaled, &kept),
                (None, None) => x + unscaled,
            })
        };
        let (scale1, scale2) = self.scales.as_ref().map_or((None, None), |(one, two)| (Some(one), Some(two)));
        let x = match rows_m {
            Some(rows_m) => x_bld.reshape([samples * positions, -1]).index_select(0, rows_m),
            None => x_bld.shallow_clone(),
        };
        match self.order {
            BlockOrder::PreNorm => {
                let attention = self.attention.forward(&self.norm1.forward(x_bld), mask, rows_m, pass)?;
                let attention = Branch::new(attention, scale1);
                let x = add(&x, &attention, 0)?;
                let feed_forward = self.feed_forward.forward(&self.norm2.forward(&x), pass)?;
                let feed_forward = Branch::new(feed_forward, scale2);
                let out = add(&x, &feed_forward, 1)?;
                Ok(BlockOutput { attention, feed_forward, residual: out.shallow_clone(), out })
            }
            BlockOrder::PostNorm => {
                let attention = Branch::new(self.attention.forward(x_bld, mask, rows_m, pass)?, scale1);
                let x = self.norm1.forward(&add(&x, &attention, 0)?);
                let feed_forward = Branch::new(self.feed_forward.forward(&x, pass)?, scale2);
                let residual = add(&x, &feed_forward, 1)?;
                Ok(BlockOutput { attention, feed_forward, out: self.norm2.forward(&residual), residual })
            }
        }
    }
}
