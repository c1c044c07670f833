//! Multi-head self-attention.

use crate::linear::Linear;
use crate::{Pass, QkvBias, Result, TransformerConfig};
use d2v_torch::attention::attention;
use d2v_torch::fused::{LinearMap, linear};
use d2v_torch::{Init, Scope};
use tch::Tensor;

/// Query, key and value in one product, scaled dot-product attention, output projection.
#[derive(Debug)]
pub(crate) struct Attention {
    heads: i64,
    dropout: f64,
    index: usize,
    qkv_weight: Tensor,
    bias: Bias,
    proj: Linear,
}

#[derive(Debug)]
enum Bias {
    Full(Tensor),
    QueryValue { query: Tensor, value: Tensor },
}

impl Attention {
    pub(crate) fn new(scope: &Scope<'_>, config: &TransformerConfig, index: usize) -> Result<Attention> {
        let d = config.width;
        let zero = Init::Constant(0.0);
        let qkv = scope.sub("qkv");
        Ok(Attention {
            heads: config.heads,
            dropout: config.attention_dropout,
            index,
            // Xavier of each of the three products, not of the three stacked.
            qkv_weight: qkv.param("weight", &[3 * d, d], config.init.linear(d, d))?,
            bias: match config.qkv_bias {
                QkvBias::Full => Bias::Full(qkv.param("bias", &[3 * d], zero)?),
                QkvBias::QueryValue => Bias::QueryValue {
                    query: scope.param("q_bias", &[d], zero)?,
                    value: scope.param("v_bias", &[d], zero)?,
                },
            },
            proj: Linear::new(
                &scope.sub("proj"),
                d,
                d,
                (config.init.branch_end(d, d, index), config.init.bias(d)),
            )?,
        })
    }

    /// The same layer: tensors shared.
    pub(crate) fn shared(&self) -> Attention {
        let bias = match &self.bias {
            Bias::Full(bias) => Bias::Full(bias.shallow_clone()),
            Bias::QueryValue { query, value } => {
                Bias::QueryValue { query: query.shallow_clone(), value: value.shallow_clone() }
            }
        };
        let Attention { heads, dropout, index, .. } = *self;
        let (qkv_weight, proj) = (self.qkv_weight.shallow_clone(), self.proj.shared());
        Attention { heads, dropout, index, qkv_weight, bias, proj }
    }

    /// Attends within each sequence `x_bld`; `mask` is added to the logits.
    ///
    /// With `rows_m` (indices into the `B·L` positions) the output is computed and projected for those rows alone:
    /// `[M, D]` instead of `[B, L, D]`.
    ///
    /// # Errors
    /// If shapes or kinds do not fit.
    pub(crate) fn forward(
        &self,
        x_bld: &Tensor,
        mask: Option<&Tensor>,
        rows_m: Option<&Tensor>,
        pass: Pass,
    ) -> Result<Tensor> {
        let size = x_bld.size();
        let (b, l, d) = (size[0], size[1], size[2]);
        let qkv_bl3d = match &self.bias {
            Bias::Full(bias) => linear(x_bld, LinearMap { weight: &self.qkv_weight, bias })?,
            Bias::QueryValue { query, value } => {
                let bias = &Tensor::cat(&[query, &query.zeros_like(), value], 0);
                linear(x_bld, LinearMap { weight: &self.qkv_weight, bias })?
            }
        };
        let mask = mask.map(|m| m.to_kind(qkv_bl3d.kind()));
        let dropout = pass.attention_dropout(self.dropout, self.index);
        let out_bld = attention(&qkv_bl3d, self.heads, mask.as_ref(), dropout)?;
        match rows_m {
            Some(rows_m) => self.proj.forward(&out_bld.view([b * l, d]).index_select(0, rows_m)),
            None => self.proj.forward(&out_bld),
        }
    }
}
