//! Hidden positions show one learned vector, padding shows none.

use crate::{Error, Hidden, Result};
use tch::{Kind, Tensor};

/// `features` `[B, L, D]` with `mask_token` where `hidden` says so.
///
/// # Errors
/// If the features are not `width` wide, or the mask does not fit them.
pub(crate) fn hide(
    features: &Tensor,
    width: i64,
    mask_token: &Tensor,
    hidden: Option<Hidden<'_>>,
) -> Result<Tensor> {
    let (b, l) = match features.size()[..] {
        [b, l, d] if d == width => (b, l),
        ref got => {
            let expected = format!("[B, L, {width}]");
            return Err(Error::Shape { what: "features", expected, got: got.to_vec() });
        }
    };
    let Some(Hidden { mask_bl }) = hidden else { return Ok(features.shallow_clone()) };
    if mask_bl.size() != [b, l] || mask_bl.kind() != Kind::Bool {
        let expected = format!("bool [{b}, {l}]");
        return Err(Error::Shape { what: "mask", expected, got: mask_bl.size() });
    }
    Ok(mask_token.to_kind(features.kind()).where_self(&mask_bl.unsqueeze(-1), features))
}

/// `[B, L, D]` with zeros where `padding_bl` (bool, true = not real) says so.
pub(crate) fn clear_padding(x_bld: Tensor, padding_bl: Option<&Tensor>) -> Tensor {
    match padding_bl {
        Some(padding_bl) => x_bld.masked_fill(&padding_bl.unsqueeze(-1), 0.0),
        None => x_bld,
    }
}
