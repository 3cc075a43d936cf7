//! Towers of one kind or another as a module: like Burn's derive for enums, but without the variant's name in
//! parameter paths, so that a path is a checkpoint's key.

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::Device;

use super::VisionTower;
use crate::clip::tower::ImageTower;

/// The same expression for whichever tower there is.
macro_rules! inside {
    ($self:ident, $tower:ident => $value:expr) => {
        match $self {
            Self::ConvNext($tower) => $value,
            Self::Vit($tower) => $value,
        }
    };
}

/// The same, of the same kind.
macro_rules! rebuilt {
    ($self:ident, $tower:ident => $value:expr) => {
        match $self {
            Self::ConvNext($tower) => Self::ConvNext($value),
            Self::Vit($tower) => Self::Vit($value),
        }
    };
}

macro_rules! transparent {
    ($name:ident) => {
        impl Module for $name {
            fn collect_devices(&self, devices: Devices) -> Devices {
                inside!(self, tower => tower.collect_devices(devices))
            }

            fn fork(self, device: &Device) -> Self {
                rebuilt!(self, tower => tower.fork(device))
            }

            fn to_device(self, device: &Device) -> Self {
                rebuilt!(self, tower => tower.to_device(device))
            }

            fn train(self) -> Self {
                rebuilt!(self, tower => tower.train())
            }

            fn valid(&self) -> Self {
                rebuilt!(self, tower => tower.valid())
            }

            fn materialize(self) -> Self {
                rebuilt!(self, tower => tower.materialize())
            }

            fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
                inside!(self, tower => tower.visit(visitor));
            }

            fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
                rebuilt!(self, tower => tower.map(mapper))
            }
        }

        impl ModuleDisplayDefault for $name {
            fn content(&self, content: Content) -> Option<Content> {
                inside!(self, tower => ModuleDisplayDefault::content(tower, content))
            }
        }

        impl ModuleDisplay for $name {}
    };
}

transparent!(VisionTower);
transparent!(ImageTower);
