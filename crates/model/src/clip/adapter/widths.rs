/// Widths that all parts of an adapter share.
#[derive(Clone, Copy)]
pub(super) struct Widths {
    pub model: usize,
    pub heads: usize,
    pub points: usize,
    pub value: usize,
    pub ffn: usize,
}
