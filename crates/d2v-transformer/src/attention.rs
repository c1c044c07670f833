//! Multi-head self-attention.

use crate::linear::Linear;
use crate::{Pass, QkvBias, Result, TransformerConfig};
use d2v_torch::attention::{attention, attention_of_chosen, takes_chosen};
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
    /// With `rows_m` (ascending indices into the `B·L` positions) the output is computed and projected for those rows alone:
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
        let mask = mask.map(|m| m.to_kind(x_bld.kind()));
        let dropout = pass.attention_dropout(self.dropout, self.index);
        let d = x_bld.size()[2];
        if let Some(rows_m) = rows_m
            && takes_chosen(x_bld, self.heads, mask.as_ref())
        {
            let query_md = self.part(&x_bld.flatten(0, 1).index_select(0, rows_m), 0, d)?;
            let key_value_bl2d = self.part(x_bld, d, 2 * d)?;
            let queries = (&query_md, rows_m);
            let out_md = attention_of_chosen(queries, &key_value_bl2d, self.heads, mask.as_ref(), dropout)?;
            return self.proj.forward(&out_md);
        }
        let qkv_bl3d = linear(x_bld, LinearMap { weight: &self.qkv_weight, bias: &self.qkv_bias() })?;
        let mask = mask.map(|m| m.to_kind(qkv_bl3d.kind()));
        let out_bld = attention(&qkv_bl3d, self.heads, mask.as_ref(), dropout)?;
        match rows_m {
            Some(rows_m) => self.proj.forward(&out_bld.flatten(0, 1).index_select(0, rows_m)),
            None => self.proj.forward(&out_bld),
        }
    }

    /// Rows `first..first + count` of the product of query, key and value.
    fn part(&self, x: &Tensor, first: i64, count: i64) -> Result<Tensor> {
        let (weight, bias) =
            (self.qkv_weight.narrow(0, first, count), self.qkv_bias().narrow(0, first, count));
        Ok(linear(x, LinearMap { weight: &weight, bias: &bias })?)
    }

    fn qkv_bias(&self) -> Tensor {
        match &self.bias {
            Bias::Full(bias) => bias.shallow_clone(),
            Bias::QueryValue { query, value } => Tensor::cat(&[query, &query.zeros_like(), value], 0),
        }
    }
}
