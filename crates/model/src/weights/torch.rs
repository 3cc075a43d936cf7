//! Tensors in the files of `torch.save`, without running them.
//!
//! Such a file holds a pickle: a small program that may call anything. Here only the few words are
//! understood that a dictionary of tensors needs; every other is an error that names it. Both containers
//! are read, the zip archive and, from before PyTorch 1.6, the bare stream.

mod archive;
mod machine;
mod tensors;
mod value;

pub use tensors::{TorchFile, TorchTensor};

#[cfg(test)]
mod tests;
