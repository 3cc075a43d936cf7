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
    Storage(Rc<Storage>),
    Tensor(Rc<Pickled>),
}

/// A name from a module that a pickle may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

impl Global {
    /// The meaning of a name; `None` for any other than those that tensors need.
    pub(super) fn of(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("torch", storage) => dtype(storage.strip_suffix("Storage")?).map(Self::Storage),
            _ => None,
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
