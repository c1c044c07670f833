//! What a pickle describes, as nodes that refer to each other by number.
//!
//! Numbers instead of ownership: a pickle may name one object any number of times, or put a list into itself.

use crate::DType;

/// Number of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(u32);

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    None,
    Bool(bool),
    Integer(i64),
    /// A whole number beyond i64; nothing here needs its value.
    BigInteger,
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Set,
    Dictionary(Vec<(Id, Id)>),
    /// A class or function, by name; never looked up.
    Named {
        module: String,
        name: String,
    },
    /// What a call of a class or function would have given; the call never happens.
    Placeholder {
        called: Id,
    },
    Storage(StorageNode),
    Tensor(TensorNode),
}

/// Numbers in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StorageNode {
    /// The entry `data/KEY`.
    pub(super) key: String,
    pub(super) dtype: DType,
    /// How many numbers the pickle says there are.
    pub(super) len: u64,
}

/// A view of a storage; offset and strides count numbers, not bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorNode {
    pub(super) storage: StorageNode,
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

/// All nodes of a pickle.
#[derive(Debug, Default)]
pub(super) struct Nodes(Vec<Node>);

impl Nodes {
    /// Adds a node. The machine's limit on operations keeps their number below `u32::MAX`.
    pub(super) fn add(&mut self, node: Node) -> Id {
        self.0.push(node);
        Id((self.0.len() - 1) as u32)
    }

    pub(super) fn get(&self, id: Id) -> &Node {
        &self.0[id.0 as usize]
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Node {
        &mut self.0[id.0 as usize]
    }

    /// What a value is, for messages: a Python object by its `module.name`.
    pub(super) fn describe(&self, node: &Node) -> String {
        match node {
            Node::None => "None".into(),
            Node::Bool(_) => "a truth value".into(),
            Node::Integer(_) | Node::BigInteger => "a whole number".into(),
            Node::Float(_) => "a number".into(),
            Node::Text(_) => "a text".into(),
            Node::Bytes(_) => "bytes".into(),
            Node::Tuple(_) => "a tuple".into(),
            Node::List(_) => "a list".into(),
            Node::Set => "a set".into(),
            Node::Dictionary(_) => "a dictionary".into(),
            Node::Named { module, name } => format!("the Python name {module}.{name}"),
            Node::Placeholder { called } => match self.get(*called) {
                Node::Named { module, name } => {
                    format!(
                        "a Python object made by {module}.{name}, which is not understood and was not called"
                    )
                }
                _ => "a Python object that is not understood".into(),
            },
            Node::Storage(_) => "a storage".into(),
            Node::Tensor(_) => "a tensor".into(),
        }
    }
}
