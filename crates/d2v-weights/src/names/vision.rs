//! Names of image networks: transformers' class, the original BEiT-derived code, fairseq's port (spec 7.1).

use super::relation::{Ignored, Row, Table, Theirs, optional, same};
use super::source::BiasTable;

const NO_MASK_TOKEN: &str = "encoder only: masking needs a new mask token";
const NO_HEAD: &str = "no prediction head: pretraining needs a new one";
const NO_FINAL_NORM: &str = "fine-tuned with mean pooling: the last output is not normalised";
const INDEX: Ignored =
    Ignored { theirs: "*.relative_position_index", why: "a buffer that the image size determines" };
const CLASSIFIER: Ignored = Ignored { theirs: "classifier.*", why: "head of a fine-tuned classifier" };
const OUR_HEAD: Ignored = Ignored { theirs: "head.*", why: "transformers has no prediction head" };
const BIAS: &str = "front_end.rel_pos_bias.relative_position_bias_table";

const TRANSFORMERS: &[Row] = &[
    same("front_end.patch_embed.proj.{part}", &["embeddings.patch_embeddings.projection.{part}"]),
    same("front_end.cls_token", &["embeddings.cls_token"]),
    optional("front_end.mask_token", &["embeddings.mask_token"], NO_MASK_TOKEN),
    same("transformer.blocks.{layer}.norm1.{part}", &["encoder.layer.{layer}.layernorm_before.{part}"]),
    super::relation::rows(
        "transformer.blocks.{layer}.attn.qkv.weight",
        &[
            "encoder.layer.{layer}.attention.attention.query.weight",
            "encoder.layer.{layer}.attention.attention.key.weight",
            "encoder.layer.{layer}.attention.attention.value.weight",
        ],
    ),
    same("transformer.blocks.{layer}.attn.q_bias", &["encoder.layer.{layer}.attention.attention.query.bias"]),
    same("transformer.blocks.{layer}.attn.v_bias", &["encoder.layer.{layer}.attention.attention.value.bias"]),
    same(
        "transformer.blocks.{layer}.attn.proj.{part}",
        &["encoder.layer.{layer}.attention.output.dense.{part}"],
    ),
    same("transformer.blocks.{layer}.gamma_1", &["encoder.layer.{layer}.lambda_1"]),
    same("transformer.blocks.{layer}.norm2.{part}", &["encoder.layer.{layer}.layernorm_after.{part}"]),
    same("transformer.blocks.{layer}.mlp.fc1.{part}", &["encoder.layer.{layer}.intermediate.dense.{part}"]),
    same("transformer.blocks.{layer}.mlp.fc2.{part}", &["encoder.layer.{layer}.output.dense.{part}"]),
    same("transformer.blocks.{layer}.gamma_2", &["encoder.layer.{layer}.lambda_2"]),
];
const TRANSFORMERS_SHARED_BIAS: &[Row] =
    &[same(BIAS, &["encoder.relative_position_bias.relative_position_bias_table"])];
const TRANSFORMERS_LAYER_BIAS: &[Row] = &[Row {
    ours: BIAS,
    theirs: Theirs::EveryLayer(
        "encoder.layer.{layer}.attention.attention.relative_position_bias.relative_position_bias_table",
    ),
    absent: None,
}];
const TRANSFORMERS_FINAL_NORM: &[Row] = &[same("transformer.norm.{part}", &["layernorm.{part}"])];

/// transformers' `Data2VecVisionModel`; `final_norm` is the opposite of its `use_mean_pooling`.
pub(super) fn transformers(bias: BiasTable, final_norm: bool) -> Table {
    let mut rows = vec![TRANSFORMERS];
    rows.push(match bias {
        BiasTable::Shared => TRANSFORMERS_SHARED_BIAS,
        BiasTable::Copied => TRANSFORMERS_LAYER_BIAS,
    });
    if final_norm {
        rows.push(TRANSFORMERS_FINAL_NORM);
    }
    Table {
        model: "transformers' Data2VecVisionModel",
        prefixes: &["data2vec_vision."],
        rows,
        ignored: &[
            INDEX,
            Ignored { theirs: "pooler.*", why: "norm after the mean pooling of a fine-tuned classifier" },
            CLASSIFIER,
            Ignored { theirs: "auxiliary_head.*", why: "head of a segmentation model" },
            Ignored { theirs: "decode_head.*", why: "head of a segmentation model" },
        ],
        left_behind: &[OUR_HEAD],
        fillers: &[],
    }
}

const BLOCKS: &[Row] = &[
    same("transformer.blocks.{layer}.norm1.{part}", &["blocks.{layer}.norm1.{part}"]),
    same("transformer.blocks.{layer}.attn.qkv.weight", &["blocks.{layer}.attn.qkv.weight"]),
    same("transformer.blocks.{layer}.attn.q_bias", &["blocks.{layer}.attn.q_bias"]),
    same("transformer.blocks.{layer}.attn.v_bias", &["blocks.{layer}.attn.v_bias"]),
    same("transformer.blocks.{layer}.attn.proj.{part}", &["blocks.{layer}.attn.proj.{part}"]),
    same("transformer.blocks.{layer}.gamma_1", &["blocks.{layer}.gamma_1"]),
    same("transformer.blocks.{layer}.norm2.{part}", &["blocks.{layer}.norm2.{part}"]),
    same("transformer.blocks.{layer}.mlp.fc1.{part}", &["blocks.{layer}.mlp.fc1.{part}"]),
    same("transformer.blocks.{layer}.mlp.fc2.{part}", &["blocks.{layer}.mlp.fc2.{part}"]),
    same("transformer.blocks.{layer}.gamma_2", &["blocks.{layer}.gamma_2"]),
    same("front_end.patch_embed.proj.{part}", &["patch_embed.proj.{part}"]),
    same("front_end.cls_token", &["cls_token"]),
    optional("front_end.mask_token", &["mask_token"], NO_MASK_TOKEN),
    optional("transformer.norm.{part}", &["norm.{part}"], NO_FINAL_NORM),
    optional("head.0.{part}", &["lm_head.{part}"], NO_HEAD),
];
const SHARED_BIAS: &[Row] = &[same(BIAS, &["rel_pos_bias.relative_position_bias_table"])];
const LAYER_BIAS: &[Row] = &[Row {
    ours: BIAS,
    theirs: Theirs::EveryLayer("blocks.{layer}.attn.relative_position_bias_table"),
    absent: None,
}];

/// The original code, which made the published image networks: pretrained with one table of position biases, fine-tuned
/// with one per layer.
pub(super) fn beit_fork(bias: BiasTable) -> Table {
    Table {
        model: "the original image code",
        prefixes: &[],
        rows: vec![
            BLOCKS,
            match bias {
                BiasTable::Shared => SHARED_BIAS,
                BiasTable::Copied => LAYER_BIAS,
            },
        ],
        ignored: &[
            INDEX,
            Ignored { theirs: "fc_norm.*", why: "norm after the mean pooling of a fine-tuned classifier" },
            Ignored { theirs: "head.*", why: "head of a fine-tuned classifier" },
        ],
        left_behind: &[],
        fillers: &[],
    }
}

const FAIRSEQ: &[Row] = &[
    same("transformer.blocks.{layer}.norm1.{part}", &["encoder.blocks.{layer}.norm1.{part}"]),
    same("transformer.blocks.{layer}.attn.qkv.weight", &["encoder.blocks.{layer}.attn.qkv.weight"]),
    same("transformer.blocks.{layer}.attn.q_bias", &["encoder.blocks.{layer}.attn.q_bias"]),
    same("transformer.blocks.{layer}.attn.v_bias", &["encoder.blocks.{layer}.attn.v_bias"]),
    same("transformer.blocks.{layer}.attn.proj.{part}", &["encoder.blocks.{layer}.attn.proj.{part}"]),
    same("transformer.blocks.{layer}.gamma_1", &["encoder.blocks.{layer}.gamma_1"]),
    same("transformer.blocks.{layer}.norm2.{part}", &["encoder.blocks.{layer}.norm2.{part}"]),
    same("transformer.blocks.{layer}.mlp.fc1.{part}", &["encoder.blocks.{layer}.mlp.0.{part}"]),
    same("transformer.blocks.{layer}.mlp.fc2.{part}", &["encoder.blocks.{layer}.mlp.2.{part}"]),
    same("transformer.blocks.{layer}.gamma_2", &["encoder.blocks.{layer}.gamma_2"]),
    same("transformer.norm.{part}", &["encoder.norm.{part}"]),
    same("front_end.patch_embed.proj.{part}", &["patch_embed.conv.{part}"]),
    same("front_end.cls_token", &["cls_emb"]),
    optional("front_end.mask_token", &["mask_emb"], NO_MASK_TOKEN),
    same(BIAS, &["encoder.rel_pos_bias.relative_position_bias_table"]),
];

/// fairseq's port. Its `final_proj` is defined but never applied: the prediction is the final norm's output.
pub(super) fn fairseq() -> Table {
    Table {
        model: "fairseq's data2vec_vision",
        prefixes: &[],
        rows: vec![FAIRSEQ],
        ignored: &[INDEX, Ignored { theirs: "final_proj.*", why: "defined in that code but never applied" }],
        left_behind: &[Ignored { theirs: "head.*", why: "this code has no prediction head that it applies" }],
        fillers: &[],
    }
}
