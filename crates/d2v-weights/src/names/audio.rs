//! Names of speech networks: transformers' class and fairseq's (spec 7.2).

use super::relation::{Ignored, Row, Table, optional, rows, same};

const NO_MASK_TOKEN: &str = "encoder only: masking needs a new mask vector";
const NO_HEAD: &str = "no prediction head: pretraining needs a new one";

const TRANSFORMERS: &[Row] = &[
    optional("front_end.mask_token", &["masked_spec_embed"], NO_MASK_TOKEN),
    same("front_end.conv_layers.{conv}.conv.weight", &["feature_extractor.conv_layers.{conv}.conv.weight"]),
    same(
        "front_end.conv_layers.{conv}.norm.{part}",
        &["feature_extractor.conv_layers.{conv}.layer_norm.{part}"],
    ),
    same("front_end.norm.{part}", &["feature_projection.layer_norm.{part}"]),
    same("front_end.proj.{part}", &["feature_projection.projection.{part}"]),
    same("front_end.pos_conv.{pos}.{part}", &["encoder.pos_conv_embed.layers.{pos}.conv.{part}"]),
    same("transformer.input_norm.{part}", &["encoder.layer_norm.{part}"]),
    rows(
        "transformer.blocks.{layer}.attn.qkv.{part}",
        &[
            "encoder.layers.{layer}.attention.q_proj.{part}",
            "encoder.layers.{layer}.attention.k_proj.{part}",
            "encoder.layers.{layer}.attention.v_proj.{part}",
        ],
    ),
    same(
        "transformer.blocks.{layer}.attn.proj.{part}",
        &["encoder.layers.{layer}.attention.out_proj.{part}"],
    ),
    same("transformer.blocks.{layer}.norm1.{part}", &["encoder.layers.{layer}.layer_norm.{part}"]),
    same(
        "transformer.blocks.{layer}.mlp.fc1.{part}",
        &["encoder.layers.{layer}.feed_forward.intermediate_dense.{part}"],
    ),
    same(
        "transformer.blocks.{layer}.mlp.fc2.{part}",
        &["encoder.layers.{layer}.feed_forward.output_dense.{part}"],
    ),
    same("transformer.blocks.{layer}.norm2.{part}", &["encoder.layers.{layer}.final_layer_norm.{part}"]),
];

/// transformers' `Data2VecAudioModel`.
pub(super) fn transformers() -> Table {
    Table {
        model: "transformers' Data2VecAudioModel",
        prefixes: &["data2vec_audio."],
        rows: vec![TRANSFORMERS],
        ignored: &[
            Ignored { theirs: "lm_head.*", why: "head of a fine-tuned recogniser" },
            Ignored { theirs: "projector.*", why: "head of a fine-tuned classifier" },
            Ignored { theirs: "classifier.*", why: "head of a fine-tuned classifier" },
            Ignored { theirs: "layer_weights", why: "head of a fine-tuned classifier" },
        ],
        left_behind: &[Ignored { theirs: "head.*", why: "transformers has no prediction head" }],
        fillers: &[],
    }
}

const FAIRSEQ: &[Row] = &[
    optional("front_end.mask_token", &["mask_emb"], NO_MASK_TOKEN),
    same("front_end.conv_layers.{conv}.conv.weight", &["feature_extractor.conv_layers.{conv}.0.weight"]),
    same("front_end.conv_layers.{conv}.norm.{part}", &["feature_extractor.conv_layers.{conv}.2.1.{part}"]),
    same("front_end.norm.{part}", &["layer_norm.{part}"]),
    same("front_end.proj.{part}", &["post_extract_proj.{part}"]),
    same("front_end.pos_conv.{pos}.{part}", &["encoder.pos_conv.{pos}.0.{part}"]),
    same("transformer.input_norm.{part}", &["encoder.layer_norm.{part}"]),
    rows(
        "transformer.blocks.{layer}.attn.qkv.{part}",
        &[
            "encoder.layers.{layer}.self_attn.q_proj.{part}",
            "encoder.layers.{layer}.self_attn.k_proj.{part}",
            "encoder.layers.{layer}.self_attn.v_proj.{part}",
        ],
    ),
    same(
        "transformer.blocks.{layer}.attn.proj.{part}",
        &["encoder.layers.{layer}.self_attn.out_proj.{part}"],
    ),
    same("transformer.blocks.{layer}.norm1.{part}", &["encoder.layers.{layer}.self_attn_layer_norm.{part}"]),
    same("transformer.blocks.{layer}.mlp.fc1.{part}", &["encoder.layers.{layer}.fc1.{part}"]),
    same("transformer.blocks.{layer}.mlp.fc2.{part}", &["encoder.layers.{layer}.fc2.{part}"]),
    same("transformer.blocks.{layer}.norm2.{part}", &["encoder.layers.{layer}.final_layer_norm.{part}"]),
    // The published Base file has the second form.
    optional("head.0.{part}", &["final_proj.{part}", "final_proj.0.{part}"], NO_HEAD),
];

/// fairseq's `data2vec_audio`, pretrained or fine-tuned.
pub(super) fn fairseq() -> Table {
    Table {
        model: "fairseq's data2vec_audio",
        prefixes: &["w2v_encoder.w2v_model."],
        rows: vec![FAIRSEQ],
        ignored: &[Ignored { theirs: "w2v_encoder.proj.*", why: "head of a fine-tuned recogniser" }],
        left_behind: &[],
        fillers: &[],
    }
}
