//! Names of text networks: transformers' class and fairseq's (spec 7.3).

use super::relation::{Filler, Ignored, Row, Table, Theirs, optional, rows, same};

const NO_HEAD: &str = "no prediction head: pretraining needs a new one";

const TRANSFORMERS: &[Row] = &[
    same("front_end.tokens.weight", &["embeddings.word_embeddings.weight"]),
    // One token type: its row is added at every position. Zeros in all published weights.
    Row {
        ours: "front_end.positions.weight",
        theirs: Theirs::WithAddedRow {
            table: "embeddings.position_embeddings.weight",
            row: "embeddings.token_type_embeddings.weight",
        },
        absent: None,
    },
    same("front_end.norm.{part}", &["embeddings.LayerNorm.{part}"]),
    rows(
        "transformer.blocks.{layer}.attn.qkv.{part}",
        &[
            "encoder.layer.{layer}.attention.self.query.{part}",
            "encoder.layer.{layer}.attention.self.key.{part}",
            "encoder.layer.{layer}.attention.self.value.{part}",
        ],
    ),
    same(
        "transformer.blocks.{layer}.attn.proj.{part}",
        &["encoder.layer.{layer}.attention.output.dense.{part}"],
    ),
    same(
        "transformer.blocks.{layer}.norm1.{part}",
        &["encoder.layer.{layer}.attention.output.LayerNorm.{part}"],
    ),
    same("transformer.blocks.{layer}.mlp.fc1.{part}", &["encoder.layer.{layer}.intermediate.dense.{part}"]),
    same("transformer.blocks.{layer}.mlp.fc2.{part}", &["encoder.layer.{layer}.output.dense.{part}"]),
    same("transformer.blocks.{layer}.norm2.{part}", &["encoder.layer.{layer}.output.LayerNorm.{part}"]),
];

/// transformers' `Data2VecTextModel`. It wants a pooler, which pretraining does not make: zeros.
pub(super) fn transformers() -> Table {
    Table {
        model: "transformers' Data2VecTextModel",
        prefixes: &["data2vec_text."],
        rows: vec![TRANSFORMERS],
        ignored: &[
            Ignored { theirs: "pooler.*", why: "not pretrained" },
            Ignored { theirs: "lm_head.*", why: "not pretrained: a head that predicts words" },
            Ignored { theirs: "classifier.*", why: "head of a fine-tuned classifier" },
            Ignored { theirs: "qa_outputs.*", why: "head of a fine-tuned question answerer" },
            Ignored { theirs: "embeddings.position_ids", why: "a buffer that only counts" },
            Ignored { theirs: "embeddings.token_type_ids", why: "a buffer of zeros" },
        ],
        left_behind: &[Ignored { theirs: "head.*", why: "transformers has no prediction head" }],
        fillers: &[
            Filler { theirs: "pooler.dense.weight", like: "front_end.norm.weight", axes: 2 },
            Filler { theirs: "pooler.dense.bias", like: "front_end.norm.weight", axes: 1 },
        ],
    }
}

const FAIRSEQ: &[Row] = &[
    same("front_end.tokens.weight", &["encoder.sentence_encoder.embed_tokens.weight"]),
    same("front_end.positions.weight", &["encoder.sentence_encoder.embed_positions.weight"]),
    same("front_end.norm.{part}", &["encoder.sentence_encoder.layernorm_embedding.{part}"]),
    rows(
        "transformer.blocks.{layer}.attn.qkv.{part}",
        &[
            "encoder.sentence_encoder.layers.{layer}.self_attn.q_proj.{part}",
            "encoder.sentence_encoder.layers.{layer}.self_attn.k_proj.{part}",
            "encoder.sentence_encoder.layers.{layer}.self_attn.v_proj.{part}",
        ],
    ),
    same(
        "transformer.blocks.{layer}.attn.proj.{part}",
        &["encoder.sentence_encoder.layers.{layer}.self_attn.out_proj.{part}"],
    ),
    same(
        "transformer.blocks.{layer}.norm1.{part}",
        &["encoder.sentence_encoder.layers.{layer}.self_attn_layer_norm.{part}"],
    ),
    same(
        "transformer.blocks.{layer}.mlp.fc1.{part}",
        &["encoder.sentence_encoder.layers.{layer}.fc1.{part}"],
    ),
    same(
        "transformer.blocks.{layer}.mlp.fc2.{part}",
        &["encoder.sentence_encoder.layers.{layer}.fc2.{part}"],
    ),
    same(
        "transformer.blocks.{layer}.norm2.{part}",
        &["encoder.sentence_encoder.layers.{layer}.final_layer_norm.{part}"],
    ),
    optional("head.0.{part}", &["encoder.regression_head.0.{part}"], NO_HEAD),
    optional("head.1.{part}", &["encoder.regression_head.2.{part}"], NO_HEAD),
];

/// fairseq's `data2vec_text`.
pub(super) fn fairseq() -> Table {
    Table {
        model: "fairseq's data2vec_text",
        prefixes: &[],
        rows: vec![FAIRSEQ],
        ignored: &[
            Ignored { theirs: "encoder.sentence_encoder.version", why: "a version number" },
            Ignored {
                theirs: "encoder.sentence_encoder.embed_positions._float_tensor",
                why: "an empty buffer",
            },
            Ignored { theirs: "encoder.lm_head.*", why: "not pretrained: a head that predicts words" },
            Ignored { theirs: "classification_heads.*", why: "head of a fine-tuned classifier" },
            Ignored { theirs: "encoder.classification_heads.*", why: "head of a fine-tuned classifier" },
        ],
        left_behind: &[],
        fillers: &[],
    }
}
