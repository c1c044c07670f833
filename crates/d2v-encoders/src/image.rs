//! Pictures as patches (spec 2.1).

use crate::hide::hide;
use crate::{Error, Hidden, ImageConfig, ImagePosition, ModalityEncoder, RelativeBias, Result, sin_cos_2d};
use d2v_torch::{Init, Scope};
use d2v_transformer::{InitScheme, Pass, Tokens};
use std::cell::Cell;
use tch::Tensor;

/// The front end of images.
#[derive(Debug)]
pub struct ImageEncoder {
    config: ImageConfig,
    width: i64,
    /// `[D, C, P, P]`, as a convolution's, so that published weights fit.
    proj_weight: Tensor,
    proj_bias: Tensor,
    mask_token: Tensor,
    class_token: Option<Tensor>,
    position: Position,
    /// Patches per column and row of the pictures last seen: `tokens` is given features only.
    grid: Cell<(i64, i64)>,
}

#[derive(Debug)]
enum Position {
    Relative(RelativeBias),
    SinCos { scale: f64, table_ld: Tensor },
}

impl ImageEncoder {
    /// Registers `patch_embed.proj`, `mask_token`, `cls_token` and `rel_pos_bias.relative_position_bias_table`,
    /// as far as the configuration has them.
    ///
    /// # Errors
    /// If the configuration is invalid or a name is taken.
    pub fn new(
        scope: &Scope<'_>,
        config: &ImageConfig,
        width: i64,
        heads: i64,
        init: InitScheme,
    ) -> Result<ImageEncoder> {
        config.validate()?;
        let (c, p, side) = (config.channels, config.patch_size, config.side());
        let proj = scope.sub("patch_embed").sub("proj");
        let token = match init {
            InitScheme::Beit => Init::TruncatedNormal { std: 0.02, cut: 0.02 },
            InitScheme::Bert | InitScheme::Xavier | InitScheme::Uniform => Init::Normal { std: 0.02 },
        };
        Ok(ImageEncoder {
            config: config.clone(),
            width,
            proj_weight: proj.param("weight", &[width, c, p, p], init.linear(c * p * p, width))?,
            proj_bias: proj.param("bias", &[width], Init::Constant(0.0))?,
            mask_token: scope.param("mask_token", &[1, 1, width], token)?,
            class_token: match config.class_token {
                true => Some(scope.param("cls_token", &[1, 1, width], token)?),
                false => None,
            },
            position: match config.position {
                ImagePosition::RelativeBias {} => Position::Relative(RelativeBias::new(
                    &scope.sub("rel_pos_bias"),
                    side,
                    heads,
                    config.class_token,
                )?),
                ImagePosition::SinCos { scale } => Position::SinCos {
                    scale,
                    table_ld: (sin_cos_2d(side, side, width)? * scale)
                        .to_kind(scope.kind())
                        .to_device(scope.device()),
                },
            },
            grid: Cell::new((side, side)),
        })
    }

    /// Cuts `[B, C, H, W]` into rows of pixels `[B, L, C·P·P]`, patches row by row.
    fn patches(&self, image_bchw: &Tensor) -> Result<Tensor> {
        let (c, p) = (self.config.channels, self.config.patch_size);
        match image_bchw.size()[..] {
            [b, channels, h, w] if channels == c && h >= p && w >= p && h % p == 0 && w % p == 0 => {
                let (y, x) = (h / p, w / p);
                self.grid.set((y, x));
                let cut = image_bchw.view([b, c, y, p, x, p]).permute([0, 2, 4, 1, 3, 5]);
                Ok(cut.reshape([b, y * x, c * p * p]))
            }
            ref got => Err(Error::Shape {
                what: "image",
                expected: format!("[B, {c}, H, W] with H and W multiples of the patch size {p}"),
                got: got.to_vec(),
            }),
        }
    }
}

impl ModalityEncoder for ImageEncoder {
    /// `[B, C, H, W]` to patch embeddings `[B, L, D]`; `H` and `W` may differ from the configured size.
    fn features(&self, image_bchw: &Tensor) -> Result<Tensor> {
        let patches = self.patches(image_bchw)?;
        let weight = self.proj_weight.view([self.width, -1]);
        // One matrix product: kernel and stride of the patch convolution are equal, so patches do not overlap.
        Ok(patches.linear(&weight, Some(&self.proj_bias)))
    }

    fn tokens(
        &self,
        features: &Tensor,
        hidden: Option<Hidden<'_>>,
        padding_bl: Option<&Tensor>,
        _pass: Pass,
    ) -> Result<Tokens> {
        let (side_y, side_x) = self.grid.get();
        let b = match features.size()[..] {
            [b, l, d] if l == side_y * side_x && d == self.width => b,
            ref got => {
                let expected = format!("[B, {}, {}]", side_y * side_x, self.width);
                return Err(Error::Shape { what: "patch features", expected, got: got.to_vec() });
            }
        };
        if let Some(padding) = padding_bl {
            return Err(Error::Shape {
                what: "padding of pictures",
                expected: "none".into(),
                got: padding.size(),
            });
        }
        let mut x = hide(features, self.width, &self.mask_token, hidden)?;
        let mut bias_bhll = None;
        match &self.position {
            Position::Relative(relative) => bias_bhll = Some(relative.bias(side_y, side_x)?),
            Position::SinCos { scale, table_ld } => {
                x = if (side_y, side_x) == (self.config.side(), self.config.side()) {
                    x + table_ld
                } else {
                    let table = sin_cos_2d(side_y, side_x, self.width)? * *scale;
                    x + table.to_kind(table_ld.kind()).to_device(table_ld.device())
                };
            }
        }
        if let Some(class_token) = &self.class_token {
            let class = class_token.to_kind(x.kind()).expand([b, 1, self.width], false);
            x = Tensor::cat(&[class, x], 1);
        }
        Ok(Tokens {
            tokens_bld: x,
            bias_bhll,
            padding_bl: None,
            extra: i64::from(self.class_token.is_some()),
        })
    }
}
