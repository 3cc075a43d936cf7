//! What a module's parameters are called, and how large they are.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Shape, Tensor};

/// Path and shape of every floating-point parameter, in their order; none gets a value by it.
pub fn shapes<M: Module>(module: &M) -> Vec<(String, Shape)> {
    let mut lister = Lister::default();
    module.visit(&mut lister);
    lister.found
}

#[derive(Default)]
struct Lister {
    path: Vec<String>,
    found: Vec<(String, Shape)>,
}

impl ModuleVisitor for Lister {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push((self.path.join("."), param.lazy_shape()));
    }
}
