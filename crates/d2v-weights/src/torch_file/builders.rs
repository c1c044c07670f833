//! The few calls whose meaning is known to be no more than data.

use super::node::{Id, Node, Nodes, StorageNode, TensorNode};
use crate::DType;

/// What a call stands for.
pub(super) enum Made {
    /// A new value.
    New(Node),
    /// One of its arguments.
    Same(Id),
}

/// PyTorch's typed storages.
const STORAGES: [(&str, DType); 10] = [
    ("DoubleStorage", DType::F64),
    ("FloatStorage", DType::F32),
    ("HalfStorage", DType::F16),
    ("BFloat16Storage", DType::BF16),
    ("LongStorage", DType::I64),
    ("IntStorage", DType::I32),
    ("ShortStorage", DType::I16),
    ("CharStorage", DType::I8),
    ("ByteStorage", DType::U8),
    ("BoolStorage", DType::Bool),
];

/// The value of `called(*arguments)`.
pub(super) fn call(nodes: &Nodes, called: Id, arguments: Id) -> Result<Made, String> {
    let (Node::Named { module, name }, Node::Tuple(arguments)) = (nodes.get(called), nodes.get(arguments))
    else {
        return Ok(Made::New(Node::Placeholder { called }));
    };
    Ok(match (module.as_str(), name.as_str(), arguments.as_slice()) {
        ("torch._utils", "_rebuild_tensor_v2", [storage, offset, shape, strides, ..]) => {
            Made::New(tensor(nodes, [*storage, *offset, *shape, *strides])?)
        }
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state", [tensor, ..]) => {
            Made::Same(*tensor)
        }
        ("collections", "OrderedDict", []) => Made::New(Node::Dictionary(Vec::new())),
        ("collections", "OrderedDict", [items]) => match pairs(nodes, *items) {
            Some(pairs) => Made::New(Node::Dictionary(pairs)),
            None => Made::New(Node::Placeholder { called }),
        },
        // How protocol 2 writes bytes.
        ("_codecs", "encode", [text, coding]) => match (nodes.get(*text), nodes.get(*coding)) {
            (Node::Text(text), Node::Text(coding)) if coding == "latin1" => {
                let bytes =
                    text.chars().map(|c| u8::try_from(c).map_err(|_| "bytes beyond latin1".to_owned()));
                Made::New(Node::Bytes(bytes.collect::<Result<_, _>>()?))
            }
            _ => Made::New(Node::Placeholder { called }),
        },
        ("torch", "Size", [items]) => Made::Same(*items),
        _ => Made::New(Node::Placeholder { called }),
    })
}

/// The entries of a list of pairs.
fn pairs(nodes: &Nodes, items: Id) -> Option<Vec<(Id, Id)>> {
    let Node::List(items) = nodes.get(items) else { return None };
    items
        .iter()
        .map(|&item| match nodes.get(item) {
            Node::Tuple(pair) | Node::List(pair) => {
                <[Id; 2]>::try_from(pair.as_slice()).ok().map(|[k, v]| (k, v))
            }
            _ => None,
        })
        .collect()
}

fn tensor(nodes: &Nodes, [storage, offset, shape, strides]: [Id; 4]) -> Result<Node, String> {
    let Node::Storage(storage) = nodes.get(storage) else {
        return Err(format!("a tensor whose storage is {}", nodes.describe(nodes.get(storage))));
    };
    let (shape, strides) = (naturals(nodes, shape)?, naturals(nodes, strides)?);
    if shape.len() != strides.len() {
        return Err(format!("a tensor with {} sizes and {} strides", shape.len(), strides.len()));
    }
    Ok(Node::Tensor(TensorNode { storage: storage.clone(), offset: natural(nodes, offset)?, shape, strides }))
}

fn natural(nodes: &Nodes, id: Id) -> Result<u64, String> {
    match nodes.get(id) {
        Node::Integer(value) => u64::try_from(*value).map_err(|_| format!("a size of {value}")),
        other => Err(format!("{} where a size is expected", nodes.describe(other))),
    }
}

fn naturals(nodes: &Nodes, id: Id) -> Result<Vec<u64>, String> {
    match nodes.get(id) {
        Node::Tuple(items) | Node::List(items) => items.iter().map(|&item| natural(nodes, item)).collect(),
        other => Err(format!("{} where sizes are expected", nodes.describe(other))),
    }
}

/// The storage that a persistent id means: `("storage", torch.FloatStorage, key, device, count)`.
pub(super) fn storage(nodes: &Nodes, id: Id) -> Result<StorageNode, String> {
    let Node::Tuple(fields) = nodes.get(id) else { return Err("a storage that is not described".into()) };
    let [kind, class, key, _device, len] = fields[..] else {
        return Err(format!("a storage described by {} values; known are 5", fields.len()));
    };
    match (nodes.get(kind), nodes.get(class), nodes.get(key)) {
        (Node::Text(kind), Node::Named { module, name }, Node::Text(key)) if kind == "storage" => {
            let known = STORAGES.iter().find(|(storage, _)| module == "torch" && name == storage);
            let (_, dtype) =
                known.ok_or_else(|| format!("a storage of {module}.{name}, which weights do not use"))?;
            Ok(StorageNode { key: key.clone(), dtype: *dtype, len: natural(nodes, len)? })
        }
        _ => Err("a storage that is not described as PyTorch does".into()),
    }
}
