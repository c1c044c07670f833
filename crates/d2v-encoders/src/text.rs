//! Words, sub-words, characters or bytes as tokens (spec 2.3).

use crate::hide::{clear_padding, hide};
use crate::{Error, Hidden, ModalityEncoder, Result, TextConfig, TokenIds};
use d2v_torch::{Init, Scope};
use d2v_transformer::{InitScheme, LayerNorm, Pass, Tokens};
use tch::{Kind, Tensor};

/// The front end of text: an embedding per token id, learned positions, layer norm.
#[derive(Debug)]
pub struct TextEncoder {
    ids: TokenIds,
    max_tokens: i64,
    width: i64,
    /// `[V, D]`.
    tokens: Tensor,
    /// `[max_tokens + pad + 1, D]`: rows up to the padding's belong to no real token.
    positions: Tensor,
    norm: LayerNorm,
}

impl TextEncoder {
    /// Registers `tokens.weight`, `positions.weight` and `norm`.
    ///
    /// # Errors
    /// If the configuration is invalid or a name is taken.
    pub fn new(scope: &Scope<'_>, config: &TextConfig, width: i64, init: InitScheme) -> Result<TextEncoder> {
        config.validate()?;
        // Small networks see more at first of what a token is than of where it stands: with tables of one size, targets
        // that know little but their position are learnt in short runs.
        let words = match init {
            InitScheme::Xavier => 1.0 / (width as f64).sqrt(),
            InitScheme::Bert | InitScheme::Beit | InitScheme::Uniform => 0.02,
        };
        let table = |name: &str, rows: i64, std| {
            scope.sub(name).param("weight", &[rows, width], Init::Normal { std })
        };
        let ids = config.ids()?.clone();
        let encoder = TextEncoder {
            tokens: table("tokens", ids.vocabulary, words)?,
            // Real tokens count from the padding's id on.
            positions: table("positions", config.max_tokens + ids.pad + 1, 0.02)?,
            norm: LayerNorm::new(&scope.sub("norm"), width, config.norm_eps)?,
            max_tokens: config.max_tokens,
            ids,
            width,
        };
        // The padding's rows start, and stay, zero: no gradient reaches them.
        tch::no_grad(|| {
            for table in [&encoder.tokens, &encoder.positions] {
                let _ = table.get(encoder.ids.pad).zero_();
            }
        });
        Ok(encoder)
    }

    /// Row of the position table for each token: padding id + 1 for the first real one, counted on over real tokens
    /// only; the padding id for padding (spec 2.3).
    fn position_rows(&self, b: i64, l: i64, padding_bl: Option<&Tensor>) -> Tensor {
        let pad = self.ids.pad;
        let place = (Kind::Int64, self.tokens.device());
        match padding_bl {
            None => (Tensor::arange(l, place) + (pad + 1)).unsqueeze(0).expand([b, l], false),
            Some(padding_bl) => {
                let real = padding_bl.logical_not().to_kind(Kind::Int64);
                real.cumsum(1, Kind::Int64) * &real + pad
            }
        }
    }
}

impl ModalityEncoder for TextEncoder {
    /// Token ids int64 `[B, L]` to embeddings `[B, L, D]`.
    fn features(&self, ids_bl: &Tensor) -> Result<Tensor> {
        match ids_bl.size()[..] {
            [_, l] if (1..=self.max_tokens).contains(&l) && ids_bl.kind() == Kind::Int64 => {
                Ok(Tensor::embedding(&self.tokens, ids_bl, self.ids.pad, false, false))
            }
            ref got => Err(Error::Shape {
                what: "token ids",
                expected: format!("int64 [B, L] with L from 1 to max_tokens = {}", self.max_tokens),
                got: got.to_vec(),
            }),
        }
    }

    /// A hidden token has the embedding of the mask id.
    fn tokens(
        &self,
        features: &Tensor,
        hidden: Option<Hidden<'_>>,
        padding_bl: Option<&Tensor>,
        _pass: Pass,
    ) -> Result<Tokens> {
        let mask_token = self.tokens.get(self.ids.mask);
        let x_bld = hide(features, self.width, &mask_token, hidden)?;
        let rows = self.position_rows(x_bld.size()[0], x_bld.size()[1], padding_bl);
        let positions = Tensor::embedding(&self.positions, &rows, self.ids.pad, false, false);
        let x_bld = clear_padding(self.norm.forward(&(x_bld + positions)), padding_bl);
        let padding_bl = padding_bl.map(Tensor::shallow_clone);
        Ok(Tokens { padding_bl, ..Tokens::plain(x_bld) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use d2v_torch::ParamStore;
    use tch::Device;

    fn encoder() -> TextEncoder {
        let ids = TokenIds { vocabulary: 12, pad: 1, mask: 11, special: vec![0, 1, 2, 3] };
        let config = TextConfig { max_tokens: 5, norm_eps: 1e-5, ids: Some(ids) };
        let store = ParamStore::new(Device::Cpu, Kind::Double, 4);
        TextEncoder::new(&store.root(), &config, 8, InitScheme::Bert).unwrap()
    }

    fn gap(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn positions_count_real_tokens_from_the_padding_on() {
        let encoder = encoder();
        let padding = Tensor::from_slice(&[false, false, true, true, false, true]).view([2, 3]);
        let rows = encoder.position_rows(2, 3, Some(&padding));
        assert_eq!(Vec::<i64>::try_from(rows.reshape([-1])).unwrap(), [2, 3, 1, 1, 2, 1]);
        let rows = encoder.position_rows(1, 3, None);
        assert_eq!(Vec::<i64>::try_from(rows.reshape([-1])).unwrap(), [2, 3, 4]);
    }

    #[test]
    fn hiding_is_showing_the_mask_id() {
        let encoder = encoder();
        let ids = Tensor::from_slice(&[0i64, 7, 8, 2]).view([1, 4]);
        let mask_bl = Tensor::from_slice(&[false, true, false, false]).view([1, 4]);
        let hidden = encoder.features(&ids).unwrap();
        let hidden = encoder.tokens(&hidden, Some(Hidden { mask_bl: &mask_bl }), None, Pass::Eval).unwrap();
        let shown = Tensor::from_slice(&[0i64, 11, 8, 2]).view([1, 4]);
        let shown = encoder.features(&shown).unwrap();
        let shown = encoder.tokens(&shown, None, None, Pass::Eval).unwrap();
        assert_eq!(gap(&hidden.tokens_bld, &shown.tokens_bld), 0.0);
    }

    #[test]
    fn padding_is_zero_and_changes_nothing_else() {
        let encoder = encoder();
        let of = |ids: &[i64], padding: Option<&[bool]>| {
            let ids = Tensor::from_slice(ids).view([1, -1]);
            let padding = padding.map(|padding| Tensor::from_slice(padding).view([1, -1]));
            let features = encoder.features(&ids).unwrap();
            encoder.tokens(&features, None, padding.as_ref(), Pass::Eval).unwrap().tokens_bld
        };
        let short = of(&[0, 7, 2], None);
        let long = of(&[0, 7, 2, 1, 1], Some(&[false, false, false, true, true]));
        assert_eq!(gap(&long.narrow(1, 0, 3), &short), 0.0);
        assert_eq!(long.narrow(1, 3, 2).abs().max().double_value(&[]), 0.0);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let encoder = encoder();
        assert!(encoder.features(&Tensor::zeros([1, 6], (Kind::Int64, Device::Cpu))).is_err(), "too long");
        assert!(encoder.features(&Tensor::zeros([1, 3], (Kind::Double, Device::Cpu))).is_err(), "no ids");
        let store = ParamStore::new(Device::Cpu, Kind::Double, 4);
        let config = TextConfig { max_tokens: 5, norm_eps: 1e-5, ids: None };
        let error = TextEncoder::new(&store.root(), &config, 8, InitScheme::Bert).map(drop).unwrap_err();
        assert!(error.to_string().starts_with("ids = missing"), "{error}");
    }
}
