use std::rc::Rc;

use safetensors::Dtype;

/// What a pickle can make here. Containers lie in the machine's arenas and are meant by their number:
/// values are cheap to repeat, and nothing is nested, however a hostile pickle nests it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// A whole number beyond 64 bits (the old container's mark), in its own bytes.
    Long(Rc<[u8]>),
    Float,
    Text(Rc<str>),
    Bytes,
    Tuple(usize),
    List(usize),
    Dict(usize),
    Global(Global),
    /// What a class or function of another program would make. It is not made: nothing is known of it.
    Foreign,
    Storage(Rc<Storage>),
    Tensor(Rc<Pickled>),
}

/// A name from a module that a pickle may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    /// `_rebuild_from_type_v2(function, type, arguments, state)`: a tensor that carries attributes.
    RebuildFromType,
    /// A constant or a plain value of PyTorch, of no use here: a size, a device, a type.
    Plain,
    /// A class or function of another program.
    Foreign,
    Storage(Dtype),
}

/// Modules with which a pickle reaches for the machine that reads it. No checkpoint needs them.
const ATTACKS: [&str; 20] = [
    "_posixsubprocess",
    "asyncio",
    "code",
    "ctypes",
    "importlib",
    "marshal",
    "nt",
    "os",
    "pickle",
    "posix",
    "pty",
    "runpy",
    "shutil",
    "socket",
    "subprocess",
    "sys",
    "timeit",
    "torch.hub",
    "urllib",
    "webbrowser",
];

/// What of Python's own names makes plain values.
const BUILTINS: [&str; 14] = [
    "bool",
    "bytearray",
    "bytes",
    "complex",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "object",
    "set",
    "slice",
    "str",
    "tuple",
];

/// What of PyTorch's names stands for plain values.
const TORCH: [&str; 34] = [
    "Size",
    "Tensor",
    "bfloat16",
    "bits16",
    "bits1x8",
    "bits2x4",
    "bits4x2",
    "bits8",
    "bool",
    "channels_last",
    "channels_last_3d",
    "complex128",
    "complex32",
    "complex64",
    "contiguous_format",
    "device",
    "float16",
    "float32",
    "float64",
    "float8_e4m3fn",
    "float8_e5m2",
    "int16",
    "int32",
    "int64",
    "int8",
    "preserve_format",
    "qint32",
    "qint8",
    "quint8",
    "sparse_coo",
    "sparse_csr",
    "strided",
    "uint16",
    "uint8",
];

impl Global {
    /// The meaning of a name; `None` for those of PyTorch and Python that no value needs, and for those that reach for
    /// the machine.
    pub(super) fn of(module: &str, name: &str) -> Option<Self> {
        let within = |root: &&str| {
            let rest = module.strip_prefix(*root);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                Some(Self::RebuildParameter)
            }
            ("torch._tensor", "_rebuild_from_type_v2") => Some(Self::RebuildFromType),
            ("torch.nn.parameter", "Parameter") => Some(Self::Plain),
            ("torch", name) if TORCH.contains(&name) => Some(Self::Plain),
            ("torch", name) => dtype(name.strip_suffix("Storage")?).map(Self::Storage),
            ("builtins" | "__builtin__", name) => BUILTINS.contains(&name).then_some(Self::Plain),
            _ if ATTACKS.iter().any(within) => None,
            _ => Some(Self::Foreign),
        }
    }
}

fn dtype(name: &str) -> Option<Dtype> {
    Some(match name {
        "Double" => Dtype::F64,
        "Float" => Dtype::F32,
        "Half" => Dtype::F16,
        "BFloat16" => Dtype::BF16,
        "Long" => Dtype::I64,
        "Int" => Dtype::I32,
        "Short" => Dtype::I16,
        "Char" => Dtype::I8,
        "Byte" => Dtype::U8,
        "Bool" => Dtype::BOOL,
        _ => return None,
    })
}

/// Numbers that tensors look into, by their key in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) key: String,
    pub(super) dtype: Dtype,
    /// How many numbers.
    pub(super) count: usize,
}

/// A view of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pickled {
    pub(super) storage: Storage,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

impl Pickled {
    /// Checks that every number of the view lies in its storage.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.shape.len() != self.strides.len() {
            return Err("a tensor's size and stride differ in length".into());
        }
        let elements = self
            .shape
            .iter()
            .try_fold(1_usize, |n, side| n.checked_mul(*side));
        let last = self
            .shape
            .iter()
            .zip(&self.strides)
            .try_fold(self.offset, |last, (side, stride)| {
                last.checked_add(side.saturating_sub(1).checked_mul(*stride)?)
            });
        match (elements, last) {
            (Some(0), Some(_)) => Ok(()),
            (Some(elements), Some(last)) if last < self.storage.count => {
                // A view may repeat numbers (stride 0), but not without bound.
                if elements <= self.storage.count.saturating_mul(1024) {
                    Ok(())
                } else {
                    Err(format!(
                        "a tensor of {elements} numbers repeats a storage of few"
                    ))
                }
            }
            _ => Err(format!(
                "a tensor of shape {:?} reaches beyond its storage of {} numbers",
                self.shape, self.storage.count
            )),
        }
    }
}
